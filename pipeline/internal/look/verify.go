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

// Proof is the result of a Verify. Its numbers count files, once for each configured
// scanner. Files, Excluded, Lacking and Queued count each file once.
type Proof struct {
	Files       int64 `json:"files"` // in the trees, without the excluded ones
	Done        int64 `json:"done"`
	Gone        int64 `json:"gone"`
	Skipped     int64 `json:"skipped"`
	Dead        int64 `json:"dead"`
	Waiting     int64 `json:"waiting"`  // also files that are settling
	Excluded    int64 `json:"excluded"` // by include, exclude or min_size, or not a regular file
	Unaccounted int64 `json:"unaccounted"`
	Lacking     int64 `json:"lacking"`    // files that are unaccounted for at a scanner
	TakenBack   int   `json:"taken_back"` // batches of verdicts that a blind address gave, and that were not all given again yet

	List    []Unaccounted `json:"list"`    // the first thousand unaccounted ones
	Unread  []string      `json:"unread"`  // the first thousand folders that could not be listed: nothing is proven of the files in them
	Queued  int64         `json:"queued"`  // files that fix journaled again
	Trees   int           `json:"trees"`   // how many trees were there
	Missing []string      `json:"missing"` // paths of the trees that were not there

	Troubles []producer.Trouble `json:"troubles"` // Unread, with the error of each
	TooLong  int64              `json:"too_long"` // folders that are left out, because their path is too long
	Long     []string           `json:"long"`     // the first few of them, cut short

	Reread
}

// Proven reports whether each file in the trees is journaled in its present version,
// and has its outcomes or waits for them, and no verdict that was taken back still stands.
// If the files were read too: no file has other bytes than its verdict was given for.
func (v Proof) Proven() bool {
	return v.Unaccounted == 0 && v.TakenBack == 0 && v.NotRead == 0 && len(v.Unread) == 0 && len(v.Missing) == 0
}

// Unaccounted is a file that will not be pushed to a scanner.
type Unaccounted struct {
	Sample  sample.Sample `json:"sample"`  // as the file lies there now
	Scanner string        `json:"scanner"` // the scanner without an outcome
	Why     string        `json:"why"`
}

const (
	maxListed  = 1000
	maxLong    = 8
	maxUnknown = 50_000                 // this many unknown files are looked at again together
	againEvery = 100 * time.Millisecond // an event may be on its way: unknown files are looked at again this often
	againFor   = 5 * time.Second        // and for this long
)

// Verify walks the trees and proves that each file is journaled in its present version,
// and has its outcomes or waits for them. It uses index and cursors; the ledger tells
// the outcomes. p is the producer that runs in this process. With fix, p journals the
// files again that are not accounted for.
//
// With read it also reads each file, one after the other, and holds its SHA-256 against
// that of its last verdict, if the ledger has one.
func (a *Archive) Verify(ctx context.Context, p *producer.Producer, fix, read bool) (Proof, error) {
	return newVerify(a, running{p}, fix, read).run(ctx)
}

// VerifyAtRest is Verify while no pipeline runs: it uses the index that one left. It
// fixes nothing. The archive must hold the locks.
func (a *Archive) VerifyAtRest(ctx context.Context, read bool) (Proof, error) {
	rest, err := newAtRest(ctx, a)
	if err != nil {
		return Proof{}, err
	}
	proof, err := newVerify(a, rest, false, read).run(ctx)
	return proof, errors.Join(err, rest.close())
}

// verify is one run of Verify.
type verify struct {
	a     *Archive
	files known
	fix   bool
	read  bool // the files too

	hashes map[verdictOf][32]byte // of the last verdicts; only with read
	unlike []candidate            // files whose bytes are not those of their verdicts

	reach   []reach               // one for each scanner
	ended   map[outcomeKey]string // outcomes other than done, and those of lines that are not behind a cursor
	damaged []sample.Damage       // told by a consumer, and not forgotten by the index yet
	kept    map[string]kept       // by lane
	proof   Proof
	unknown []candidate // files that were not accounted for yet
}

func newVerify(a *Archive, files known, fix, read bool) *verify {
	return &verify{a: a, files: files, fix: fix, read: read, hashes: map[verdictOf][32]byte{}, ended: map[outcomeKey]string{}, kept: map[string]kept{}}
}

// kept says which segments of a lane are there.
type kept struct {
	numbers        map[uint64]bool
	oldest, newest uint64
}

// reach is the place that a scanner's cursor had in each lane before the walk.
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
	at   sample.At // of its line, if it was read and its bytes differ
}

// run makes the proof. It walks each tree once.
func (c *verify) run(ctx context.Context) (Proof, error) {
	if err := c.prepare(ctx); err != nil {
		return c.proof, err
	}
	if c.read {
		if err := c.readHashes(ctx, c.files.noted()); err != nil {
			return c.proof, err
		}
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

// prepare notes the cursors before any folder is walked, because they only move
// forward. Then it notes the damage, the segments and the outcomes.
func (c *verify) prepare(ctx context.Context) (err error) {
	for _, s := range c.a.c.Scanners {
		c.reach = append(c.reach, reach{s.Name, c.a.cursorsOf(s.Name)})
	}
	if c.a.cursors != nil {
		if c.damaged, err = store.LoadDamage(c.a.cursors); err != nil {
			return err
		}
		if err := c.takenBack(); err != nil {
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
	dead := map[letterKey][]sample.At{} // the places of each dead letter's lines
	ids := map[string]bool{}            // the ids of these letters; "" for a bare path
	done := sample.AppendText([]byte(`"outcome":`), sample.Done)
	return c.a.recorded(ctx, ledger.Base, query{}, func(text []byte) bool {
		// Most lines say done and are behind a cursor, which proves them. Only the
		// others are parsed.
		if bytes.Contains(text, done) && !ids[""] && !ids[sample.IDIn(text)] && c.vouched(text) {
			return true
		}
		o, err := sample.ParseOutcome(text)
		if err != nil { // damaged, or the torn last line
			return false
		}
		key := keyOf(o.Scanner, o.ID, o.Path)
		for _, at := range dead[key] { // it was tried again, or dropped: the later outcome counts
			c.ended[outcomeKey{o.Scanner, at}] = o.Outcome
		}
		if !c.asked(o, marks) {
			return true
		}
		if o.Outcome == sample.Dead {
			dead[key], ids[o.ID] = append(dead[key], o.At), true
		}
		ahead := false // not behind the cursor: only the ledger knows that it is finished
		for _, r := range c.reach {
			ahead = ahead || r.scanner == o.Scanner && !o.At.Pos.Before(r.cursor[o.At.Lane])
		}
		if o.At != (sample.At{}) && (o.Outcome != sample.Done || ahead || c.hurt(o.At)) {
			c.ended[outcomeKey{o.Scanner, o.At}] = o.Outcome
		}
		return true
	})
}

// vouched reports whether the place in a ledger line is behind its scanner's cursor,
// and is not damaged.
func (c *verify) vouched(text []byte) bool {
	scanner, at, ok := sample.ParseFinished(text)
	for _, r := range c.reach {
		if ok && r.scanner == scanner {
			return at.Before(r.cursor[at.Lane]) && !c.hurt(at)
		}
	}
	return false
}

// asked reports whether a file may be accounted for by the line of o, so that its
// outcome is worth keeping. So memory grows with the files, not with the ledger. Lines
// from marks on may not be in the index yet, so their outcomes are always kept.
func (c *verify) asked(o sample.Outcome, marks map[string]journal.Pos) bool {
	return !o.At.Pos.Before(marks[o.At.Lane]) || c.files.by(o.Path, o.At)
}

// hurt reports whether the line at a place could not be read.
func (c *verify) hurt(at sample.At) bool {
	return slices.ContainsFunc(c.damaged, func(d sample.Damage) bool { return d.Holds(at) })
}

// walk accounts for the files of one tree. It returns fs.ErrNotExist if the tree is not
// there.
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
		default:
			c.proof.unread(f)
		}
		files := f.Entries[:0]
		for _, e := range f.Entries {
			if e.Stat.Kind() != "" || e.Stat.Size < t.MinSize || c.files.excluded(tree, filepath.Join(f.Path, e.Name)) {
				c.proof.Excluded++
				continue
			}
			c.proof.Files++
			files = append(files, e)
		}
		if err := c.accountAll(ctx, tree, f, files); err != nil {
			return err
		}
		if len(c.unknown)+len(c.unlike) >= maxUnknown {
			return c.lookAgain(ctx)
		}
		return ctx.Err()
	})
	return errors.Join(err, missing)
}

// unread notes a folder that could not be listed to its end. One whose path is too long
// is left out by rule, as excluded files are.
func (v *Proof) unread(f watch.Folder) {
	switch {
	case errors.Is(f.Err, fs.ErrNotExist):
	case errors.Is(f.Err, watch.ErrTooLong):
		if v.TooLong++; len(v.Long) < maxLong {
			v.Long = append(v.Long, f.Path[:min(len(f.Path), 1024)])
		}
	case len(v.Unread) < maxListed:
		v.Unread = append(v.Unread, f.Path)
		v.Troubles = append(v.Troubles, producer.TroubleOf(f.Path, f.Err))
	}
}

// ofDeeper reports whether a folder belongs to another tree that lies below this one.
func (c *verify) ofDeeper(tree int, folder string) bool {
	for i, t := range c.a.c.Trees {
		if i != tree && len(t.Path) > len(c.a.c.Trees[tree].Path) && watch.Within(t.Path, folder) {
			return true
		}
	}
	return false
}

// lookAgain looks at the unknown files again for up to againFor, because their events
// may be on their way. Files that are still unknown then are reported as unaccounted
// and, with fix, journaled again.
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
			if !c.again(ctx, &u) {
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
		c.unlike = nil
		return nil
	}
	return errors.Join(c.queueUnlike(ctx), c.queue(ctx, unknown))
}

// queue journals the unknown files again, except those that are accounted for by then.
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

// again looks at an unknown file again. It returns true if the file is accounted for
// now, or is gone. The file may be another version by now.
func (c *verify) again(ctx context.Context, u *candidate) bool {
	st, err := watch.Lstat(u.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Kind() != "" {
		c.proof.Files--
		return true
	}
	if err == nil {
		u.stat = st
	}
	return c.account(ctx, *u)
}

// tell counts a file at each scanner, and lists it for each scanner at which it is
// unaccounted for.
func (c *verify) tell(u candidate) {
	e, known := c.files.known(u.path, u.stat)
	file := sample.OfFile(u.path, u.stat.Size, u.stat.Mtime)
	was := c.proof.Unaccounted
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
	if c.proof.Unaccounted > was {
		c.proof.Lacking++
	}
}
