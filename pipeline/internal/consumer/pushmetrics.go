// SPDX-License-Identifier: Apache-2.0

package consumer

import "github.com/prometheus/client_golang/prometheus"

// Metrics holds the counters of the consumers. Gauges are read from the Status at each
// request.
type Metrics struct {
	pushes, verdicts, tries, bytes, badLines, uncopied *prometheus.CounterVec
	took, latency                                      *prometheus.HistogramVec
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

// All returns the counters, to be registered.
func (m *Metrics) All() []prometheus.Collector {
	return []prometheus.Collector{m.pushes, m.verdicts, m.tries, m.bytes, m.took, m.latency, m.badLines, m.uncopied}
}
