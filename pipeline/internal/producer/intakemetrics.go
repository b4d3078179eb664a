// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// Metrics holds the counters of the producer. Gauges are read from the Status at each
// request.
type Metrics struct {
	seen, skipped, journaled, lost *prometheus.CounterVec
}

// NewMetrics returns new counters. They are not registered.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "certpush_" + name, Help: help}, labels)
	}
	return &Metrics{
		seen:      counter("files_seen_total", "Settled files that were not journaled in this version yet; via=sweep should stay near zero once the first sweep has ended.", "tree", "via"),
		skipped:   counter("files_skipped_total", "Files seen and not journaled, with the reason.", "tree", "reason"),
		journaled: counter("samples_journaled_total", "Samples made durable in the journal.", "lane"),
		lost:      counter("events_lost_total", "Times the system said that it dropped events; each is followed by a sweep.", "tree"),
	}
}

// begin makes each series of a tree, so that the first of each is seen as one more than
// none.
func (m *Metrics) begin(tree string) {
	m.lost.WithLabelValues(tree)
	for _, via := range []string{sample.ViaEvent, sample.ViaSweep, sample.ViaLimit, sample.ViaManual} {
		m.seen.WithLabelValues(tree, via)
	}
	for _, reason := range []string{excluded, "min_size", "path_too_long", "symlink", "fifo", "socket", "device", "directory"} {
		m.skipped.WithLabelValues(tree, reason)
	}
	for _, lane := range sample.Lanes {
		m.journaled.WithLabelValues(lane)
	}
}

// All returns the counters, to be registered.
func (m *Metrics) All() []prometheus.Collector {
	return []prometheus.Collector{m.seen, m.skipped, m.journaled, m.lost}
}
