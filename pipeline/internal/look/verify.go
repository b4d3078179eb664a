// SPDX-License-Identifier: Apache-2.0

package look

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// Proof is what a verify found. Its numbers count files, once for each
// configured scanner; excluded ones count once.
type Proof struct {
	Files       int64 `json:"files"` // in the trees, without the excluded
	Done        int64 `json:"done"`
	Gone        int64 `json:"gone"`
	Skipped     int64 `json:"skipped"`
	Dead        int64 `json:"dead"`
	Waiting     int64 `json:"waiting"`  // also those that settle
	Excluded    int64 `json:"excluded"` // by include, exclude, min_size, or no regular file
	Unaccounted int64 `json:"unaccounted"`

	List    []Unaccounted `json:"list"`    // the first thousand of them
	Unread  []string      `json:"unread"`  // folders that could not be listed, the first thousand: nothing is proven of what is in them
	Queued  int64         `json:"queued"`  // files that fix journaled again
	Trees   int           `json:"trees"`   // that were there
	Missing []string      `json:"missing"` // trees that were not
}

// Proven reports whether each file in the trees is journaled in its present
// version and has its outcomes, or waits for them.
func (v Proof) Proven() bool {
	return v.Unaccounted == 0 && len(v.Unread) == 0 && len(v.Missing) == 0
}

// Unaccounted is a file that nobody will push.
type Unaccounted struct {
	Sample  sample.Sample `json:"sample"`  // as the file lies there
	Scanner string        `json:"scanner"` // empty: it is not journaled
	Why     string        `json:"why"`
}

const (
	maxListed  = 1000
	maxUnknown = 50_000                 // files that are looked at again together
	againEvery = 100 * time.Millisecond // an event may be on its way: unknown files are looked at again
	againFor   = 5 * time.Second
)

// Verify walks the trees and proves that every file is journaled in its present
// version and has its outcomes, by index and cursors; the ledger tells which
// they are. p is the producer that runs, and with fix it journals again what is not
// accounted for. While none runs p is nil: then Verify proves without fixing, and the
// archive holds the locks.
func (a *Archive) Verify(ctx context.Context, p *producer.Producer, fix bool) (Proof, error) {
	if p != nil {
		return newVerify(a, running{p}, fix).run(ctx)
	}
	rest, err := newAtRest(ctx, a)
	if err != nil {
		return Proof{}, err
	}
	proof, err := newVerify(a, rest, false).run(ctx)
	return proof, errors.Join(err, rest.close())
}

// verify is one run of it.
type verify struct {
	a     *Archive
	files known
	fix   bool

	reach   []reach               // of each scanner
	ended   map[outcomeKey]string // outcomes but done, and those that no cursor vouches for
	damaged []sample.Damage       // told, and not yet forgotten by the index
	kept    map[string]kept       // of each lane
	proof   Proof
	unknown []candidate
}

func newVerify(a *Archive, files known, fix bool) *verify {
	return &verify{a: a, files: files, fix: fix, ended: map[outcomeKey]string{}, kept: map[string]kept{}}
}

// kept is which segments of a lane are there.
type kept struct {
	numbers        map[uint64]bool
	oldest, newest uint64
}

// reach is how far a scanner's cursors were.
type reach struct {
	scanner string
	cursor  map[string]journal.Pos
}

type outcomeKey struct {
	scanner string
	at      sample.At
}

// candidate is a file that was not accounted for at the first look.
type candidate struct {
	tree int
	path string
	stat watch.Stat
}

// run walks the trees once.
func (c *verify) run(ctx context.Context) (Proof, error) {
	if err := c.prepare(ctx); err != nil {
		return c.proof, err
	}
	for i, t := range c.a.c.Trees {
		switch err := c.walk(ctx, i); {
		case ctx.Err() != nil:
			return c.proof, ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			c.proof.Missing = append(c.proof.Missing, t.Path)
		case err != nil:
			return c.proof, fmt.Errorf("verify tree %s: %w", t.Name, err)
		default:
			c.proof.Trees++
		}
	}
	return c.proof, c.lookAgain(ctx)
}

// prepare notes where cursors are before anything is walked: they only move on.
func (c *verify) prepare(ctx context.Context) (err error) {
	for _, s := range c.a.c.Scanners {
		c.reach = append(c.reach, reach{s.Name, c.a.cursorsOf(s.Name)})
	}
	if c.a.cursors != nil {
		if c.damaged, err = store.LoadDamage(c.a.cursors); err != nil {
			return err
		}
	}
	for _, lane := range sample.Lanes {
		all, err := journal.Survey(c.a.journal, journal.Base(lane))
		if err != nil {
			return fmt.Errorf("list journal: %w", err)
		}
		k := kept{numbers: map[uint64]bool{}}
		for i, s := range all {
			k.numbers[s.Number] = true
			k.newest = max(k.newest, s.Number)
			if i == 0 {
				k.oldest = s.Number
			}
		}
		c.kept[lane] = k
	}
	marks := c.files.noted()
	dead := map[letterKey][]sample.At{} // places of each dead letter
	ids := map[string]bool{}            // of those; a bare path's is empty
	done := sample.AppendText([]byte(`"outcome":`), sample.Done)
	return c.a.recorded(ctx, ledger.Base, query{}, func(text []byte) bool {
		// Most are done and behind a cursor, which vouches for them: only the others
		// are read in full.
		if bytes.Contains(text, done) && !ids[""] && !ids[sample.IDIn(text)] && c.vouched(text) {
			return true
		}
		o, err := sample.ParseOutcome(text)
		if err != nil { // unreadable, or the torn last line
			return false
		}
		key := keyOf(o.Scanner, o.ID, o.Path)
		for _, at := range dead[key] { // it was tried again, or dropped: that counts
			c.ended[outcomeKey{o.Scanner, at}] = o.Outcome
		}
		if !c.asked(o, marks) {
			return true
		}
		if o.Outcome == sample.Dead {
			dead[key], ids[o.ID] = append(dead[key], o.At), true
		}
		ahead := false // of a cursor: only the ledger knows that it is finished
		for _, r := range c.reach {
			ahead = ahead || r.scanner == o.Scanner && !o.At.Pos.Before(r.cursor[o.At.Lane])
		}
		if o.At != (sample.At{}) && (o.Outcome != sample.Done || ahead || c.hurt(o.At)) {
			c.ended[outcomeKey{o.Scanner, o.At}] = o.Outcome
		}
		return true
	})
}

// vouched reports whether a ledger line's place is behind its scanner's cursor, and
// none that cannot be read.
func (c *verify) vouched(text []byte) bool {
	scanner, at, ok := sample.ParseFinished(text)
	for _, r := range c.reach {
		if ok && r.scanner == scanner {
			return at.Before(r.cursor[at.Lane]) && !c.hurt(at)
		}
	}
	return false
}

// asked reports whether a file may be accounted for by this very line, so that its
// outcome is worth keeping: what is kept is bounded by the files there are, not by
// the ledger. Lines from marks on may not be in the index yet.
func (c *verify) asked(o sample.Outcome, marks map[string]journal.Pos) bool {
	return !o.At.Pos.Before(marks[o.At.Lane]) || c.files.by(o.Path, o.At)
}

func (c *verify) hurt(at sample.At) bool {
	return slices.ContainsFunc(c.damaged, func(d sample.Damage) bool { return d.Holds(at) })
}

func (c *verify) walk(ctx context.Context, tree int) error {
	t := c.a.c.Trees[tree]
	var missing error
	err := watch.Walk(ctx, producer.WatchTrees(c.a.c.Trees[tree : tree+1])[0], t.Path, func(f watch.Folder) error {
		switch {
		case c.ofDeeper(tree, f.Path):
			return ctx.Err()
		case f.Err == nil:
		case f.Path == t.Path && errors.Is(f.Err, fs.ErrNotExist):
			missing = fs.ErrNotExist
		case !errors.Is(f.Err, fs.ErrNotExist) && len(c.proof.Unread) < maxListed:
			c.proof.Unread = append(c.proof.Unread, f.Path)
		}
		for _, e := range f.Entries {
			path := filepath.Join(f.Path, e.Name)
			if e.Stat.Kind() != "" || c.files.excluded(tree, path) || e.Stat.Size < t.MinSize {
				c.proof.Excluded++
				continue
			}
			c.proof.Files++
			if !c.account(path, e.Stat) {
				c.unknown = append(c.unknown, candidate{tree, path, e.Stat})
			}
		}
		if len(c.unknown) >= maxUnknown {
			return c.lookAgain(ctx)
		}
		return ctx.Err()
	})
	return errors.Join(err, missing)
}

// ofDeeper reports whether a folder is another tree's, below this one.
func (c *verify) ofDeeper(tree int, folder string) bool {
	for i, t := range c.a.c.Trees {
		if i != tree && len(t.Path) > len(c.a.c.Trees[tree].Path) && watch.Within(t.Path, folder) {
			return true
		}
	}
	return false
}

// lookAgain looks again at what was not accounted for, while its event may
// be on its way, and then tells or fixes it.
func (c *verify) lookAgain(ctx context.Context) error {
	tick := time.NewTicker(againEvery)
	defer tick.Stop()
	for until := time.Now().Add(againFor); c.files.moving() && len(c.unknown) > 0 && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		left := c.unknown[:0]
		for _, u := range c.unknown {
			if !c.again(&u) {
				left = append(left, u)
			}
		}
		c.unknown = left
	}
	for _, u := range c.unknown {
		c.tell(u)
	}
	unknown := c.unknown
	c.unknown = nil
	if !c.fix {
		return nil
	}
	return c.queue(ctx, unknown)
}

// queue journals again what is not accounted for.
func (c *verify) queue(ctx context.Context, unknown []candidate) error {
	files := make([]producer.File, len(unknown))
	stats := map[string]watch.Stat{}
	for i, u := range unknown {
		files[i] = producer.File{Tree: u.tree, Path: u.path}
		stats[u.path] = u.stat
	}
	n, err := c.files.requeue(ctx, files, func(path string) bool {
		e, known := c.files.known(path, stats[path])
		return known && !c.lost(e.At)
	})
	c.proof.Queued += int64(n)
	return err
}

// again accounts for a file that may be another version by now, or gone.
func (c *verify) again(u *candidate) bool {
	st, err := watch.Lstat(u.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Kind() != "" {
		c.proof.Files--
		return true
	}
	if err == nil {
		u.stat = st
	}
	return c.account(u.path, u.stat)
}

func (c *verify) tell(u candidate) {
	e, known := c.files.known(u.path, u.stat)
	file := sample.OfFile(u.path, u.stat.Size, u.stat.Mtime)
	for _, r := range c.reach {
		why := "it is not journaled in its present version"
		if known {
			if o := c.outcome(r, e.At); o != "" {
				c.count(o)
				continue
			}
			why = "its journal line " + e.At.String() + " is lost, and the ledger has no outcome for it"
		}
		c.proof.Unaccounted++
		if len(c.proof.List) < maxListed {
			c.proof.List = append(c.proof.List, Unaccounted{file, r.scanner, why})
		}
	}
}
