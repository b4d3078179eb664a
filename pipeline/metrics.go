// SPDX-License-Identifier: Apache-2.0

package pipeline

import "github.com/prometheus/client_golang/prometheus"

// gauges is a collector that reads the state of a Pipeline at each request.
type gauges struct{ p *Pipeline }

var (
	waitingDesc = prometheus.NewDesc("certpush_waiting_samples", "Samples journaled and without their outcome.", []string{"scanner", "lane"}, nil)
	oldestDesc  = prometheus.NewDesc("certpush_oldest_waiting_seconds", "Age of the oldest sample that waits.", []string{"scanner"}, nil)
	upDesc      = prometheus.NewDesc("certpush_scanner_up", "1 when the scanner answered its last ping.", []string{"scanner"}, nil)
	watchedDesc = prometheus.NewDesc("certpush_watched_directories", "Directories with a watch.", []string{"tree"}, nil)
	lackDesc    = prometheus.NewDesc("certpush_unaccounted_samples", "Samples without an outcome that none will reach, by the last verify.", nil, nil)
	sizeDesc    = prometheus.NewDesc("certpush_journal_bytes", "Bytes of all journal segments.", nil, nil)
)

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
