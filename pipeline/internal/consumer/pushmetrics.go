// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// Metrics holds the counters of the consumers. Gauges are read from the Status at each
// request.
type Metrics struct {
	pushes, verdicts, tries, bytes, badLines, uncopied *prometheus.CounterVec
	took, latency                                      *prometheus.HistogramVec

	mu    sync.Mutex                  // guards ended
	ended map[string]map[string]int64 // by scanner, the outcomes that consumers before counted
}

// NewMetrics returns new counters. They are not registered.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "certpush_" + name, Help: help}, labels)
	}
	span := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "certpush_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 4, 12),
		}, []string{"scanner"})
	}
	return &Metrics{
		ended:    map[string]map[string]int64{},
		pushes:   counter("pushes_total", "Pushes that ended, by outcome.", "scanner", "outcome"),
		verdicts: counter("verdicts_total", "Verdicts recorded.", "scanner", "verdict"),
		tries:    counter("tries_total", "Attempts to push, by result.", "scanner", "result"),
		bytes:    counter("pushed_bytes_total", "Bytes of samples judged.", "scanner"),
		took:     span("push_duration_seconds", "From a sample's first try to its outcome."),
		latency:  span("sample_latency_seconds", "From settled to outcome."),
		uncopied: counter("samples_uncopied_total", "Samples handed over without a copy, for want of copy_memory; their verdicts are not remembered.", "scanner"),
		badLines: counter("journal_unreadable_lines_total", "Journal lines that could not be read; each is followed by a sweep that journals their files again.", "lane"),
	}
}

// begin makes each series of a scanner, so that the first of each is seen as one more
// than none.
func (m *Metrics) begin(scanner string) {
	for _, outcome := range []string{sample.Done, sample.Gone, sample.Skipped, sample.Dead} {
		m.pushes.WithLabelValues(scanner, outcome)
	}
	for _, v := range []scan.Verdict{scan.Clean, scan.Suspicious, scan.Malicious, scan.Submitted, scan.Unscanned} {
		m.verdicts.WithLabelValues(scanner, string(v))
		m.tries.WithLabelValues(scanner, string(v))
	}
	for kind := scan.Busy; kind <= scan.Unread; kind++ {
		m.tries.WithLabelValues(scanner, kind.String())
	}
	for _, result := range []string{sample.ReasonUnreadable, sample.ReasonChanged} { // neither verdict nor failure
		m.tries.WithLabelValues(scanner, result)
	}
	m.bytes.WithLabelValues(scanner)
	m.uncopied.WithLabelValues(scanner)
	m.took.WithLabelValues(scanner)
	m.latency.WithLabelValues(scanner)
	for _, lane := range sample.Lanes {
		m.badLines.WithLabelValues(lane)
	}
}

// keep keeps how many outcomes a scanner's consumer counted, for the next one.
func (m *Metrics) keep(scanner string, counts map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[scanner] = maps.Clone(counts)
}

// kept returns what the last consumer of a scanner counted.
func (m *Metrics) kept(scanner string) map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := map[string]int64{}
	maps.Copy(counts, m.ended[scanner])
	return counts
}

// All returns the counters, to be registered.
func (m *Metrics) All() []prometheus.Collector {
	return []prometheus.Collector{m.pushes, m.verdicts, m.tries, m.bytes, m.took, m.latency, m.badLines, m.uncopied}
}
