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
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// Config is what a Pipeline needs. Only State is required; every other zero
// value takes the default named beside it. The service fills it from
// certpush.toml, where the same words are keys.
type Config struct {
	State    string           // folder for journal, ledger, cursors and index; made if missing
	Trees    []config.Tree    // watched by the producer
	Journal  config.Journal   // the durable list of samples
	Scanners []config.Scanner // none: the built-in hash list judges
	Ledger   config.Ledger    // the record of outcomes

	Half     config.Half           // Both
	Grace    time.Duration         // a stop waits this long for the samples in hand; 8s
	Log      *slog.Logger          // slog.Default
	Registry prometheus.Registerer // where the metrics are registered; nil: nowhere
	Outcome  func(sample.Outcome)  // told of each outcome after it is recorded; must not block; may be nil

	nap     func(time.Duration)                                      // the system's, but in tests
	disk    store.Disk                                               // the machine's, but in tests
	scanner func(config.Scanner, *slog.Logger) (scan.Scanner, error) // consumer.Scanner, but in tests
}

// withDefaults returns c with every zero value filled in, or what is wrong.
func (c Config) withDefaults() (Config, error) {
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
	c.Grace = cmp.Or(c.Grace, config.DefaultGrace)
	c.disk = cmp.Or(c.disk, store.Disk{Disk: journal.OS, Pebble: vfs.Default})
	if c.Outcome == nil {
		c.Outcome = func(Outcome) {}
	}
	if c.scanner == nil {
		c.scanner = consumer.Scanner
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Trees, err = config.FillTrees(c.Trees); err != nil {
		return c, err
	}
	c.Scanners, err = config.FillScanners(c.Scanners)
	return c, err
}
