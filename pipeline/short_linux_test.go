// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestNoDescriptorsMakeNoDeadLetters: while there are no descriptors samples wait. That
// is logged once, and uses up no try. The test runs alone, because it takes the
// descriptors of the process.
func TestNoDescriptorsMakeNoDeadLetters(t *testing.T) {
	metrics := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) {
		c.Registry = metrics
		c.Scanners = []config.Scanner{{Type: "hashlist", Tries: 2, BackoffFirst: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond}}
	})
	l.start()
	l.swept()
	l.judged(l.write("before", "x")) // so far the tree could be read
	outside, path := filepath.Join(t.TempDir(), "a"), filepath.Join(l.drop, "a")
	must(t, os.WriteFile(outside, []byte(eicar()), 0o600))
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	give := func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)) }
	defer give()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: was.Max}))
	must(t, os.Rename(outside, path))
	tried := func() (n float64) {
		all, err := metrics.Gather()
		must(t, err)
		for _, f := range all {
			for _, m := range f.GetMetric() {
				for _, label := range m.GetLabel() {
					if f.GetName() == "certpush_tries_total" && label.GetValue() == sample.ReasonUnreadable {
						n += m.GetCounter().GetValue()
					}
				}
			}
		}
		return n
	}
	l.until("more attempts than tries", func() bool { return tried() >= 6 })
	if n := len(outcomesOf(l.outcomes(), path)); n != 0 {
		t.Errorf("%+v", l.outcomes())
	}
	if err := l.p.Ready(); err == nil || !strings.Contains(err.Error(), "samples cannot be opened") {
		t.Errorf("ready: %v", err)
	}
	give()
	l.judged(path)
	if o := outcomesOf(l.outcomes(), path)[0]; o.Outcome != sample.Done || o.Verdict != scan.Malicious || o.Tries != 1 {
		t.Errorf("%+v", o)
	}
	for _, say := range []string{"samples cannot be opened for want", "samples can be opened again"} {
		if n := strings.Count(l.logged(), say); n != 1 {
			t.Errorf("said %d times: %s", n, say)
		}
	}
}

// TestNoDescriptorsAtStart: a start waits for them, and takes no part of the state for
// damaged. The test runs alone, because it takes the descriptors of the process.
func TestNoDescriptorsAtStart(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	l.judged(l.write("before", "x"))
	l.halt()
	path := l.write("after", "x")
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	give := func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)) }
	defer give()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: was.Max}))
	l.start()
	l.until("it is said", func() bool { return strings.Contains(l.logged(), "raise LimitNOFILE") })
	give()
	l.judged(path)
	l.halt()
	if aside, _ := filepath.Glob(filepath.Join(l.c.State, "*.broken-*")); len(aside) != 0 || len(l.outcomes()) != 2 {
		t.Errorf("%q, %d outcomes of 2 files", aside, len(l.outcomes()))
	}
}
