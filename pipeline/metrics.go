// SPDX-License-Identifier: Apache-2.0

package pipeline

import "github.com/prometheus/client_golang/prometheus"

// metrics is every counter of the pipeline. Gauges are read from the Status
// when they are asked for.
type metrics struct {
	seen      *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	journaled *prometheus.CounterVec
	pushes    *prometheus.CounterVec
	verdicts  *prometheus.CounterVec
	tries     *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	took      *prometheus.HistogramVec
	latency   *prometheus.HistogramVec
	lost      *prometheus.CounterVec
	badLines  *prometheus.CounterVec
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "certpush_" + name, Help: help}, labels)
	}
	span := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "certpush_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 4, 12),
		}, []string{"scanner"})
	}
	return &metrics{
		seen:      counter("files_seen_total", "Settled files that were not journaled in this version yet; via=sweep should stay near zero once the first sweep has ended.", "tree", "via"),
		skipped:   counter("files_skipped_total", "Files seen and not journaled, with the reason.", "tree", "reason"),
		journaled: counter("samples_journaled_total", "Samples made durable in the journal.", "lane"),
		pushes:    counter("pushes_total", "Pushes that ended, by outcome.", "scanner", "outcome"),
		verdicts:  counter("verdicts_total", "Verdicts recorded.", "scanner", "verdict"),
		tries:     counter("tries_total", "Attempts to push, by result.", "scanner", "result"),
		bytes:     counter("pushed_bytes_total", "Bytes of samples judged.", "scanner"),
		took:      span("push_duration_seconds", "From a sample's first try to its outcome."),
		latency:   span("sample_latency_seconds", "From settled to outcome."),
		lost:      counter("events_lost_total", "Times the system said that it dropped events; each is followed by a sweep.", "tree"),
		badLines:  counter("journal_unreadable_lines_total", "Journal lines that could not be read; each is followed by a verify.", "lane"),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.seen, m.skipped, m.journaled, m.pushes, m.verdicts, m.tries, m.bytes, m.took, m.latency, m.lost, m.badLines}
}

// gauges reads the present state from a Pipeline.
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
	for i, c := range s.Scanners {
		up := 0.0
		if c.Up {
			up = 1
		}
		gauge(upDesc, up, c.Name)
		gauge(oldestDesc, c.OldestWaiting, c.Name)
		for lane, n := range g.p.waiting(i) {
			gauge(waitingDesc, float64(n), c.Name, lane)
		}
	}
	if n := g.p.unaccounted.Load(); n != nil {
		gauge(lackDesc, float64(*n))
	}
	gauge(sizeDesc, float64(g.p.journalSize()))
}
