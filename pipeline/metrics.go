// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/scan"
)

// gauges is a collector that reads the state of a Pipeline at each request.
type gauges struct{ p *Pipeline }

var (
	waitingDesc = prometheus.NewDesc("certpush_waiting_samples", "Samples journaled and without their outcome.", []string{"scanner", "lane"}, nil)
	oldestDesc  = prometheus.NewDesc("certpush_oldest_waiting_seconds", "Age of the oldest sample that waits.", []string{"scanner"}, nil)
	upDesc      = prometheus.NewDesc("certpush_scanner_up", "1 when the scanner answered its last ping.", []string{"scanner"}, nil)
	sightDesc   = prometheus.NewDesc("certpush_scanner_sight", "1 when the canary was seen at this address, 0 when it was answered wrongly; not shown while it was not answered.", []string{"scanner", "address", "canary"}, nil)
	watchedDesc = prometheus.NewDesc("certpush_watched_directories", "Directories with a watch.", []string{"tree"}, nil)
	lackDesc    = prometheus.NewDesc("certpush_unaccounted_samples", "Samples without an outcome that none will reach, by the last verify.", nil, nil)
	provenDesc  = prometheus.NewDesc("certpush_verify_success", "1 when the last verify accounted for each file, 0 when it did not or could not.", nil, nil)
	pausedDesc  = prometheus.NewDesc("certpush_scanner_paused", "1 while an operator pauses the scanner.", []string{"scanner"}, nil)
	deadDesc    = prometheus.NewDesc("certpush_dead_letters", "Dead letters that are on the list now.", []string{"scanner"}, nil)
	stoppedDesc = prometheus.NewDesc("certpush_intake_stopped", "1 while no file is journaled, for want of room or because the disk refuses.", nil, nil)
	unwatched   = prometheus.NewDesc("certpush_tree_unwatched_directories", "Directories that are not watched or cannot be read, and all of a tree that is not there counts as one.", []string{"tree"}, nil)
	settling    = prometheus.NewDesc("certpush_tree_settling_files", "Files that are being written, and wait to settle.", []string{"tree"}, nil)
	roomDesc    = prometheus.NewDesc("certpush_state_bytes", "Bytes of each part of the state on disk.", []string{"part"}, nil)
	sizeDesc    = prometheus.NewDesc("certpush_journal_bytes", "Bytes of all journal segments.", nil, nil)
)

// sight tells what an address sees.
func (gauges) sight(ch chan<- prometheus.Metric, scanner string, s scan.Sight) {
	for canary, seen := range map[scan.Canary]scan.Seen{scan.Plain: s.Plain, scan.Archive: s.Archive, scan.Encrypted: s.Encrypted, scan.Depth: s.Depth, scan.Ordinary: s.Ordinary} {
		value := 0.0
		switch seen {
		case scan.Yes:
			value = 1
		case scan.No:
		default:
			continue
		}
		ch <- prometheus.MustNewConstMetric(sightDesc, prometheus.GaugeValue, value, scanner, s.Address, string(canary))
	}
}

// Describe implements prometheus.Collector.
func (g gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := g.p.Status()
	for _, t := range s.Trees {
		gauge(watchedDesc, float64(t.Directories), t.Name)
		lacking := t.Unwatched
		if !t.Watched {
			lacking = max(lacking, 1)
		}
		gauge(unwatched, float64(lacking), t.Name)
		gauge(settling, float64(t.Settling), t.Name)
	}
	for _, c := range s.Scanners {
		gauge(upDesc, truth(c.Up), c.Name)
		gauge(pausedDesc, truth(c.Paused), c.Name)
		gauge(deadDesc, float64(c.DeadLetters), c.Name)
		gauge(oldestDesc, c.OldestWaiting, c.Name)
		for _, s := range c.Sights {
			g.sight(ch, c.Name, s)
		}
	}
	now := g.p.halves()
	for _, c := range now.consumers {
		for lane, n := range c.Waiting() {
			gauge(waitingDesc, float64(n), c.Name(), lane)
		}
	}
	if v := g.p.verified.Load(); v != nil {
		gauge(lackDesc, float64(v.unaccounted))
		gauge(provenDesc, truth(v.proven))
	}
	gauge(stoppedDesc, truth(s.IntakeStopped != ""))
	for _, r := range g.p.c.rooms() {
		gauge(roomDesc, float64(r.Bytes), r.Part)
	}
	size := int64(0)
	if now.lanes != nil {
		size = now.lanes.Size()
	}
	gauge(sizeDesc, float64(size))
}

// truth returns 1 for true.
func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
