// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/ledger"
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
	lookAgain  = 100 * time.Millisecond // an event may be on its way: unknown files are looked at again
	lookFor    = 5 * time.Second
)

// ErrVerifying is what Verify returns while another one runs.
var ErrVerifying = errors.New("a verify is running already: wait for it")

// Verify walks the trees and proves that every file is journaled in its present
// version and has its outcomes, by index and cursors; the ledger tells which
// they are. With fix it journals again what is not accounted for. It is for the
// process that watches; while none runs it proves without fixing, under the
// state folder's locks. The errors are those of Why.
func (p *Pipeline) Verify(ctx context.Context, fix bool) (v Proof, err error) {
	prod, consumers, _ := p.halves()
	switch {
	case prod == nil && consumers != nil:
		return v, errNoProducer
	case prod == nil && fix:
		return v, errors.New("certpush does not run: start it, its sweep at the start journals what is missing, and verify then")
	}
	if !p.verifying.TryLock() {
		return v, ErrVerifying
	}
	defer p.verifying.Unlock()
	err = p.look(func(a *archive) error {
		c := &verify{a: a, c: p.c, p: prod, fix: fix}
		if prod == nil {
			done, err := c.atRest(ctx)
			if err != nil {
				return err
			}
			proof, err := c.run(ctx)
			v = proof
			return errors.Join(err, done())
		}
		v, err = c.run(ctx)
		return err
	})
	if err == nil {
		p.unaccounted.Store(&v.Unaccounted)
	}
	return v, err
}

// verify is one run of it.
type verify struct {
	a   *archive
	c   Config
	p   *producer // nil at rest
	fix bool

	watcher *watch.Watcher
	index   *index.Index
	tail    map[string]index.Entry // at rest: what the journal knows and the index does not yet

	reach   []reach               // of each scanner
	ended   map[outcomeKey]string // outcomes but done, and those that no cursor vouches for
	damaged []sample.Damage       // told, and not yet forgotten by the index
	kept    map[string]kept       // of each lane
	proof   Proof
	unknown []candidate
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

// atRest stands in for a producer that does not run. Nothing is written, not
// even to the index: its files are to stay its own user's.
func (c *verify) atRest(ctx context.Context) (done func() error, err error) {
	if c.watcher, err = newWatcher(c.c, nil); err != nil {
		return nil, err
	}
	if c.index, err = index.OpenToRead(ctx, c.c.disk, filepath.Join(c.c.State, "index")); err != nil {
		return nil, err
	}
	c.tail = map[string]index.Entry{}
	for lane, mark := range c.index.Marks() {
		all, err := journal.Survey(c.a.journal, journal.Base(lane))
		for _, s := range all {
			if err == nil && s.Number >= mark.Segment {
				err = journal.Find(ctx, c.a.journal, s, nil, func(offset int64, text []byte) error {
					at := sample.At{Lane: lane, Pos: journal.Pos{Segment: s.Number, Offset: offset}}
					if s, err := sample.ParseLine(text); err == nil && sample.OfAll(s) && !at.Pos.Before(mark) {
						c.tail[s.Path] = index.Entry{Stat: watch.Stat{Size: s.Size, Mtime: s.Mtime}, At: at}
					}
					return nil
				})
			}
		}
		if err != nil {
			return nil, errors.Join(err, c.index.Shut())
		}
	}
	return c.index.Shut, nil
}

func (c *verify) run(ctx context.Context) (Proof, error) {
	if c.p != nil {
		c.watcher, c.index = c.p.watcher, c.p.index
	}
	if err := c.prepare(ctx); err != nil {
		return c.proof, err
	}
	for i, t := range c.c.Trees {
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
	return c.proof, c.settleUnknown(ctx)
}

// prepare notes where cursors are before anything is walked: they only move on.
func (c *verify) prepare(ctx context.Context) (err error) {
	for _, s := range c.c.Scanners {
		c.reach = append(c.reach, reach{s.Name, c.a.cursorsOf(s.Name)})
	}
	if c.a.cursors != nil {
		if c.damaged, err = store.LoadDamage(c.a.cursors); err != nil {
			return err
		}
	}
	c.kept = map[string]kept{}
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
	c.ended = map[outcomeKey]string{}
	marks := c.index.Noted()
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
	if e, ok := c.tail[o.Path]; ok && e.At == o.At {
		return true
	}
	if c.p != nil && !o.At.Pos.Before(marks[o.At.Lane]) {
		return true
	}
	e, ok, err := c.index.Get(o.Path)
	return err != nil || ok && e.At == o.At
}

func (c *verify) hurt(at sample.At) bool {
	return slices.ContainsFunc(c.damaged, func(d sample.Damage) bool { return d.Holds(at) })
}

func (c *verify) walk(ctx context.Context, tree int) error {
	t := c.c.Trees[tree]
	var missing error
	err := watch.Walk(ctx, watchTree(t), t.Path, func(f watch.Folder) error {
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
			if e.Stat.Kind() != "" || c.watcher.Excluded(tree, path) || e.Stat.Size < t.MinSize {
				c.proof.Excluded++
				continue
			}
			c.proof.Files++
			if !c.account(path, e.Stat) {
				c.unknown = append(c.unknown, candidate{tree, path, e.Stat})
			}
		}
		if len(c.unknown) >= maxUnknown {
			return c.settleUnknown(ctx)
		}
		return ctx.Err()
	})
	return errors.Join(err, missing)
}

// ofDeeper reports whether a folder is another tree's, below this one.
func (c *verify) ofDeeper(tree int, folder string) bool {
	for i, t := range c.c.Trees {
		if i != tree && len(t.Path) > len(c.c.Trees[tree].Path) && watch.Within(t.Path, folder) {
			return true
		}
	}
	return false
}

// account counts a file at each scanner. It returns false, and counts nothing,
// when the file is not accounted for at one of them.
func (c *verify) account(path string, st watch.Stat) bool {
	if c.p != nil && c.watcher.Settling(path) {
		c.proof.Waiting += int64(len(c.reach))
		return true
	}
	e, ok := c.known(path, st)
	if !ok {
		return false
	}
	how := make([]string, len(c.reach))
	for i, r := range c.reach {
		if how[i] = c.outcome(r, e.At); how[i] == "" {
			return false
		}
	}
	for _, h := range how {
		c.count(h)
	}
	return true
}

func (c *verify) count(outcome string) {
	switch outcome {
	case sample.Done:
		c.proof.Done++
	case sample.Gone:
		c.proof.Gone++
	case sample.Skipped:
		c.proof.Skipped++
	case sample.Dead:
		c.proof.Dead++
	default:
		c.proof.Waiting++
	}
}

// lost reports whether a scanner has no outcome for a line, and never will.
func (c *verify) lost(at sample.At) bool {
	return slices.ContainsFunc(c.reach, func(r reach) bool { return c.outcome(r, at) == "" })
}

// waiting stands beside the outcomes.
const waiting = "waiting"

// known returns what is known of path in this version.
func (c *verify) known(path string, st watch.Stat) (index.Entry, bool) {
	if e, ok := c.tail[path]; ok && e.Stat.Size == st.Size && e.Stat.Mtime == st.Mtime {
		return e, true
	}
	e, ok, err := c.index.Get(path)
	return e, ok && err == nil && e.Stat.Same(st)
}

// outcome returns what became of a line at a scanner: an outcome, waiting, or ""
// when neither is certain.
func (c *verify) outcome(r reach, at sample.At) string {
	if o, ok := c.ended[outcomeKey{r.scanner, at}]; ok {
		return o
	}
	switch {
	case c.hurt(at):
		return "" // behind the cursor it may be, but nobody could read it
	case at.Pos.Before(r.cursor[at.Lane]):
		return sample.Done
	case at.Segment > c.kept[at.Lane].newest || c.kept[at.Lane].numbers[at.Segment]:
		return waiting
	case r.cursor[at.Lane] == (journal.Pos{}) && at.Segment < c.kept[at.Lane].oldest:
		return sample.Done // a new scanner begins at the oldest segment that is kept
	}
	return "" // its segment is gone, and the cursor is not past it
}

// settleUnknown looks again at what was not accounted for, while its event may
// be on its way, and then tells or fixes it.
func (c *verify) settleUnknown(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for until := time.Now().Add(lookFor); c.p != nil && len(c.unknown) > 0 && time.Now().Before(until); {
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
	s := &sweep{p: c.p, ok: true}
	for _, u := range unknown {
		if err := c.p.stopped(); err != nil {
			return err
		}
		s.take(ctx, u.tree, u.path, sample.ViaManual, func() bool {
			e, known := c.known(u.path, u.stat)
			return known && !c.lost(e.At)
		})
	}
	s.flush(ctx)
	c.proof.Queued += int64(s.fresh)
	return ctx.Err()
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
	e, known := c.known(u.path, u.stat)
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
