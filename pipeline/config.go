// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// Config is what a Pipeline needs. Only State is required; every other zero
// value takes the default named beside it. The service fills it from
// certpush.toml, where the same words are keys.
type Config struct {
	State    string    // folder for journal, ledger, cursors and index; made if missing
	Trees    []Tree    // watched by the producer
	Journal  Journal   // the durable list of samples
	Scanners []Scanner // none: the built-in hash list judges
	Ledger   Ledger    // the record of outcomes

	Half     Half                  // Both
	Grace    time.Duration         // a stop waits this long for the samples in hand; 8s
	Log      *slog.Logger          // slog.Default
	Registry prometheus.Registerer // where the metrics are registered; nil: nowhere
	Outcome  func(sample.Outcome)  // told of each outcome after it is recorded; must not block; may be nil

	disk store.Disk // the machine's
}

// Half says which halves of the pipeline this process runs.
type Half int

// The halves. A producer and a consumer may run in two processes on one
// journal folder.
const (
	Both Half = iota
	ProducerOnly
	ConsumerOnly
)

// locks names the locks that a process holds which runs h.
func (h Half) locks() []string {
	switch h {
	case ProducerOnly:
		return []string{"producer"}
	case ConsumerOnly:
		return []string{"consumer"}
	}
	return []string{"producer", "consumer"}
}

// Tree is a watched directory and all below it.
type Tree struct {
	Name        string        // the last path element
	Path        string        // required, absolute
	Include     []string      // globs below Path; everything
	Exclude     []string      // globs below Path; nothing
	Settle      time.Duration // quiet time where the system cannot say that the writer closed it; 500ms
	SettleLimit time.Duration // a file that never settles is journaled then; 1h
	MinSize     int64         // bytes; below: counted, not journaled. -1: no limit; 0 means 1
	MaxSize     int64         // bytes; above: outcome skipped. 0: no limit
	Sweep       time.Duration // 1h; negative: only at start and after doubt
	Engine      string        // auto
}

// Journal says where the lines go and when segments are cut and pruned.
type Journal struct {
	Dir      string        // absolute, or relative to State; "journal"
	CutEvery time.Duration // 1m
	CutSize  int64         // bytes; 64 MiB
	Keep     int           // sealed segments of each lane kept behind every cursor; 1440
	Sync     time.Duration // least time between two fsyncs; 0: again as soon as the last returned
	MinFree  int64         // bytes; below: intake stops; 256 MiB. Negative: no limit
}

// Ledger says how much of the record of outcomes is kept.
type Ledger struct {
	Keep int // sealed segments; 400
}

// Scanner configures one scanner and its consumer.
type Scanner struct {
	Name         string
	Type         string        // clamd, hashlist, discard
	Addresses    []string      // "unix:/path" or "tcp:host:port"
	Lists        []string      // hashlist: files of SHA-256
	Workers      int           // samples in flight at once; 2
	Queue        int           // lines read ahead; 1000
	Timeout      time.Duration // one try; 5m
	Tries        int           // 8
	BackoffFirst time.Duration // 1s
	BackoffMax   time.Duration // 5m
	MaxSize      int64         // bytes the scanner looks into; 0: the type's default (clamd 25 MiB); negative: no limit
	Rate         Rate          // pushes begun; zero: no limit
	Cache        time.Duration // how long a verdict holds for the same bytes and the same version of the scanner; 0: no cache
	NoCanary     bool          // do not push a clean file and EICAR at start and every ten minutes
}

// Rate is a number of pushes in a span of time. The zero Rate is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// DefaultScanner is the scanner when none is configured: the built-in hash list.
const DefaultScanner = "hashlist"

func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
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
	or(&c.Journal.Dir, "journal")
	if !filepath.IsAbs(c.Journal.Dir) {
		c.Journal.Dir = filepath.Join(c.State, c.Journal.Dir)
	}
	or(&c.Journal.CutEvery, time.Minute)
	or(&c.Journal.CutSize, 64<<20)
	or(&c.Journal.Keep, 1440)
	or(&c.Journal.MinFree, 256<<20)
	or(&c.Ledger.Keep, 400)
	or(&c.Grace, 8*time.Second)
	or(&c.disk, store.Disk{Disk: journal.OS, Pebble: vfs.Default})
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Trees, err = treesWithDefaults(c.Trees); err != nil {
		return c, err
	}
	c.Scanners, err = scannersWithDefaults(c.Scanners)
	return c, err
}

func treesWithDefaults(in []Tree) ([]Tree, error) {
	trees := slices.Clone(in)
	seen := map[string]bool{}
	for i := range trees {
		t := &trees[i]
		if t.Path == "" || !filepath.IsAbs(t.Path) {
			return nil, fmt.Errorf("tree %q is not an absolute path: write it in full", t.Path)
		}
		t.Path = filepath.Clean(t.Path)
		or(&t.Name, filepath.Base(t.Path))
		if seen[t.Name] {
			return nil, fmt.Errorf("tree name %q is used twice: give one of them another name", t.Name)
		}
		seen[t.Name] = true
		or(&t.Settle, 500*time.Millisecond)
		or(&t.SettleLimit, time.Hour)
		or(&t.MinSize, 1)
		or(&t.Sweep, time.Hour)
		or(&t.Engine, "auto")
	}
	return trees, nil
}

func scannersWithDefaults(in []Scanner) ([]Scanner, error) {
	scanners := slices.Clone(in)
	if len(scanners) == 0 {
		scanners = []Scanner{{Name: DefaultScanner, Type: "hashlist"}}
	}
	seen := map[string]bool{}
	for i := range scanners {
		s := &scanners[i]
		or(&s.Type, "clamd")
		or(&s.Name, s.Type)
		if seen[s.Name] {
			return nil, fmt.Errorf("scanner name %q is used twice: give one of them another name", s.Name)
		}
		seen[s.Name] = true
		or(&s.Workers, 2)
		or(&s.Queue, 1000)
		or(&s.Timeout, 5*time.Minute)
		or(&s.Tries, 8)
		or(&s.BackoffFirst, time.Second)
		or(&s.BackoffMax, 5*time.Minute)
		if s.MaxSize == 0 && s.Type == "clamd" {
			s.MaxSize = 25 << 20
		}
		s.MaxSize = max(s.MaxSize, 0)
	}
	return scanners, nil
}
