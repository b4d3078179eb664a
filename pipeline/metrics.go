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
	sizeDesc    = prometheus.NewDesc("certpush_journal_bytes", "Bytes of all journal segments.", nil, nil)
)

// sight tells what an address sees.
func (gauges) sight(ch chan<- prometheus.Metric, scanner string, s scan.Sight) {
	for canary, seen := range map[scan.Canary]scan.Seen{scan.Plain: s.Plain, scan.Archive: s.Archive, scan.Encrypted: s.Encrypted, scan.Depth: s.Depth} {
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
	}
	for _, c := range s.Scanners {
		up := 0.0
		if c.Up {
			up = 1
		}
		gauge(upDesc, up, c.Name)
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
	if n := g.p.unaccounted.Load(); n != nil {
		gauge(lackDesc, float64(*n))
	}
	size := int64(0)
	if now.lanes != nil {
		size = now.lanes.Size()
	}
	gauge(sizeDesc, float64(size))
}
