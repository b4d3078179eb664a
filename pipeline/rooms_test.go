// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestEachPartOfTheStateIsMeasured, from the start on.
func TestEachPartOfTheStateIsMeasured(t *testing.T) {
	metrics := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) { c.Registry = metrics })
	shown := func() map[string]float64 {
		all, err := metrics.Gather()
		must(t, err)
		parts := map[string]float64{}
		for _, f := range all {
			for _, m := range f.GetMetric() {
				if f.GetName() == "certpush_state_bytes" {
					parts[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
		return parts
	}
	p, err := New(l.c)
	must(t, err)
	if parts := shown(); len(parts) != 6 || parts["ledger"] != 0 {
		t.Errorf("before the start: %v", parts)
	}
	stop := runIt(t, p)
	defer stop()
	l.judged(l.write("a", "x"))
	if parts := shown(); parts["ledger"] == 0 || parts["live"]+parts["backlog"] == 0 || parts["index"] == 0 {
		t.Errorf("%v", parts)
	}
	for _, r := range p.c.rooms() {
		if bounded := r.Part != "index" && r.Part != "cache"; bounded != (r.Max == 20<<30) {
			t.Errorf("%+v", r)
		}
	}
}
