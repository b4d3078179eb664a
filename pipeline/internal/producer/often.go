// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
)

const (
	oftenFree = 8           // so many lines of a path are journaled without a pause
	oftenMost = time.Minute // the longest pause, and how long a line counts
	oftenKept = 1 << 16     // at most twice so many paths are remembered
	oftenGrew = 5           // after so many lines of a path that grew each time the key quiet is named
)

// often remembers which paths were journaled lately. One that is written or touched again
// and again comes into the journal with growing pauses, so that it does not take the
// turns of others: after eight lines 1 s, 2 s, 4 s and so on to a minute. Then it is
// journaled whatever happens to it. Only the intake has it.
type often struct {
	trees    []config.Tree
	log      *slog.Logger
	seed     maphash.Seed
	now, old map[uint64]lately // by hash of the path: a collision pauses a file for a minute at most
	hinted   map[int]bool      // trees for which the key quiet was named
}

// lately is what happened to one path.
type lately struct {
	last time.Time
	size int64
	n    int // lines, each within a minute of the one before
	grew int // how often in a row its file was larger
}

func newOften(trees []config.Tree, log *slog.Logger) *often {
	return &often{trees: trees, log: log, seed: maphash.MakeSeed(), now: map[uint64]lately{}, old: map[uint64]lately{}, hinted: map[int]bool{}}
}

// pause returns how long path must wait until it may be journaled; 0: it may be now.
func (o *often) pause(path string) time.Duration {
	l := o.get(maphash.String(o.seed, path))
	if l.n < oftenFree {
		return 0
	}
	return max(time.Until(l.last.Add(min(time.Second<<min(l.n-oftenFree, 10), oftenMost))), 0)
}

func (o *often) get(key uint64) lately {
	l, ok := o.now[key]
	if !ok {
		l = o.old[key]
	}
	// A path whose pause is over and that was left alone since is as any other.
	if time.Since(l.last) > 2*oftenMost {
		return lately{}
	}
	return l
}

// journaled notes that a file is journaled now.
func (o *often) journaled(f found) {
	key := maphash.String(o.seed, f.path)
	l := o.get(key)
	if l.n > 0 && f.stat.Size > l.size {
		l.grew++
	} else {
		l.grew = 0
	}
	l.n, l.last, l.size = l.n+1, time.Now(), f.stat.Size
	if len(o.now) >= oftenKept {
		o.now, o.old = map[uint64]lately{}, o.now
	}
	o.now[key] = l
	if l.grew >= oftenGrew && o.trees[f.tree].Quiet == 0 && !o.hinted[f.tree] {
		o.hinted[f.tree] = true
		o.log.Info("a file is pushed again and again while it grows; if such files are uploaded in pieces, set quiet for the tree, longer than the pause between two pieces", "tree", o.trees[f.tree].Name, "path", f.path, "key", "quiet = \"10s\"")
	}
}
