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

// Locks returns the names of the locks that a process holds while it runs half h.
func Locks(h Half) []string {
	switch h {
	case ProducerOnly:
		return []string{"producer"}
	case ConsumerOnly:
		return []string{"consumer"}
	}
	return []string{"producer", "consumer"}
}

// Tree is a watched directory and all below it. Each comment ends with the default.
type Tree struct {
	Name        string        // the last element of Path
	Path        string        // required; absolute
	Include     []string      // globs below Path; all files
	Exclude     []string      // globs below Path; none
	Settle      time.Duration // a file is settled after this quiet time, if the system cannot say that its writer closed it; 500ms
	Quiet       time.Duration // a file is left alone for so long after its last close, for uploads in pieces; 0
	SettleLimit time.Duration // a file that does not settle is journaled after this time; 1h
	MinSize     int64         // bytes; a smaller file is counted and not journaled; -1: no limit; 1
	MaxSize     int64         // bytes; a larger file gets the outcome skipped; 0: no limit
	Sweep       time.Duration // time from one sweep to the next; negative: only at start and after a doubt; 1h
	Engine      string        // how events are received; auto
	Adapts      bool          // where others write without an event here, sweeps come more often than Sweep says; true if Sweep is not set
}

// Journal says where the lines go, and when segments are cut and pruned. Each comment
// ends with the default.
type Journal struct {
	Dir      string        // absolute, or relative to State; "journal"
	CutEvery time.Duration // 1m
	CutSize  int64         // bytes; 64 MiB
	Keep     int           // how many sealed segments of each lane stay behind every cursor; 1440
	Max      int64         // bytes of those segments of each lane; negative: no limit; 20 GiB
	Sync     time.Duration // the least time between two fsyncs; 0: no pause
	MinFree  int64         // bytes; with less free space intake stops; negative: no limit; 256 MiB
}

// Ledger says how much of the record of outcomes is kept, and when outcomes are durable.
type Ledger struct {
	// At the latest so long after it was written an outcome is durable; negative: before the
	// sample's place is given to another; 10ms.
	Sync time.Duration
	Keep int   // how many sealed segments stay behind every mark; 400
	Max  int64 // bytes of those segments, of outcomes and of failed tries each; negative: no limit; 20 GiB
}

// Scanner configures one scanner and its consumer. Each comment ends with the default.
type Scanner struct {
	Name         string
	Type         string        // clamd, hashlist or discard; clamd
	Addresses    []string      // "unix:/path" or "tcp:host:port"
	Lists        []string      // hashlist: files with SHA-256 sums
	Workers      int           // how many samples may be in flight at once; 0: it finds the number itself, between 2 and 64
	Queue        int           // how many lines are read ahead; 1000
	Timeout      time.Duration // of one try; 5m
	Tries        int           // a sample is dead after this many; 8
	BackoffFirst time.Duration // the wait after the first failed try; 1s
	BackoffMax   time.Duration // the longest wait; 5m
	MaxSize      int64         // bytes; the scanner does not look into a larger file; negative: no limit; clamd 25 MiB, other types no limit
	Rate         Rate          // how many samples may be handed to it; zero: no limit
	Cache        time.Duration // how long a verdict is reused for the same bytes and the same version of the scanner; 0: no cache
	Sight        time.Duration // how often canaries are asked while nothing is pushed; negative: never, and then nothing is called clean; 10m
	SightDepth   int64         // bytes; the largest canary; negative: as large as MaxSize; 64 MiB
	Copy         bool          // hash and hand over a copy of each sample whatever its size, not of small ones alone
	Canary       string        // a file that this scanner calls malicious; EICAR
}

// mostWorkers is how many workers a scanner has at most that finds their number itself:
// clamd stands so many samples without an answer, also over one connection.
const mostWorkers = 64

// MostWorkers returns how many samples may ever be in flight at once.
func (s Scanner) MostWorkers() int {
	if s.Workers == 0 {
		return mostWorkers
	}
	return s.Workers
}

// Judges reports whether the scanner may call a sample clean at all. A hash list and
// discard never do.
func (s Scanner) Judges() bool { return s.Type != "hashlist" && s.Type != "discard" }

// Remembers reports whether verdicts of the scanner are remembered: all of them, if Cache
// is set, and what it said last of each file, if canaries show that it sees.
func (s Scanner) Remembers() bool { return s.Cache > 0 || s.Judges() && s.Sight >= 0 }

// Rate is a number of pushes in a span of time. The zero Rate is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// DefaultScanner is the scanner when none is configured: the built-in hash list.
const DefaultScanner = "hashlist"
