// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// Config is the configuration of a Pipeline. Only State is required. Any other zero
// value takes the default named beside it. The service fills it from certpush.toml,
// which has the same words as keys.
type Config struct {
	State    string           // folder of journal, ledger, cursors and index; it is made if it is missing
	Trees    []config.Tree    // the producer watches them
	Journal  config.Journal   // the durable list of samples
	Scanners []config.Scanner // without any the built-in hash list judges
	Ledger   config.Ledger    // the record of outcomes

	CopyMemory int64 // bytes in which samples are copied before they are hashed and handed over, for all scanners together; negative: none; 256 MiB

	Half     config.Half           // Both
	Ears     *Ears                 // for the engine fanotify: who gives them runs them, as long as a Pipeline may run; nil: the Pipeline has its own
	Grace    time.Duration         // how long a stop waits for the samples in flight; 8s
	Log      *slog.Logger          // slog.Default
	Registry prometheus.Registerer // registers the metrics; nil: they are not registered
	Counters *Counters             // goes on counting where another Pipeline ended; nil: New begins at 0

	// Outcome is called with each outcome after it is recorded, at least once: after a crash
	// those of the last moments come again, with the same Scanner and At. After an orderly
	// stop none does. It must not block; it may be nil.
	Outcome func(sample.Outcome)

	guessed bool // no scanner was named

	nap     func(time.Duration)                                      // the nap of the system; tests set it
	disk    store.Disk                                               // the disk of the machine; tests set it
	scanner func(config.Scanner, *slog.Logger) (scan.Scanner, error) // consumer.Scanner; tests set it
}

// Counters counts what pipelines of one process did, one after the other. Two must not
// run at the same time with the same.
type Counters struct {
	intake *producer.Metrics
	pushes *consumer.Metrics
}

// NewCounters returns Counters that begin at 0.
func NewCounters() *Counters { return &Counters{producer.NewMetrics(), consumer.NewMetrics()} }

// Filled returns c in which each zero value has its default. The error says what is wrong
// with c.
func (c Config) Filled() (Config, error) {
	if c.State == "" {
		return c, errors.New("state folder is not set: name one")
	}
	state, err := filepath.Abs(c.State)
	if err != nil {
		return c, fmt.Errorf("resolve state folder: %w", err)
	}
	c.State = state
	config.FillJournal(&c.Journal, c.State)
	config.FillLedger(&c.Ledger)
	if c.Ledger.Sync > config.MostLedgerSync {
		return c, fmt.Errorf("ledger sync of %v is too long, for a power cut repeats the pushes of so long: name at most %v", c.Ledger.Sync, config.MostLedgerSync)
	}
	if c.Journal.Sync > config.MostSync {
		return c, fmt.Errorf("journal sync of %v is too long, for so long a settled file is not journaled: name at most %v", c.Journal.Sync, config.MostSync)
	}
	c.CopyMemory = cmp.Or(c.CopyMemory, config.DefaultCopyMemory)
	c.Grace = cmp.Or(c.Grace, config.DefaultGrace)
	c.disk = cmp.Or(c.disk, store.Disk{Disk: journal.OS, Pebble: vfs.Default})
	if c.Outcome == nil {
		c.Outcome = func(Outcome) {}
	}
	if c.scanner == nil {
		c.scanner = consumer.Scanner
	}
	if c.Counters == nil {
		c.Counters = NewCounters()
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Trees, err = config.FillTrees(c.Trees); err != nil {
		return c, err
	}
	c.guessed = c.guessed || len(c.Scanners) == 0
	c.Scanners, err = config.FillScanners(c.Scanners)
	return c, err
}
