// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// Half says which halves of the pipeline this process runs.
type Half int

// The halves. A producer and a consumer may run in two processes on one
// journal folder.
const (
	Both Half = iota
	ProducerOnly
	ConsumerOnly
)

// Locks names the locks that a process holds when it runs half h.
func Locks(h Half) []string {
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
