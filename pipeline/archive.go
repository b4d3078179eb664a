// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// archive is journal and ledger as they lie on disk, to look things up: it
// changes nothing.
type archive struct {
	journal, ledger, cursors journal.Folder
	locks                    []func() error
	surveys                  map[string][]journal.Segment // of the lanes, as of the last question
}

// look calls f with the archive. While p runs its files are read as they are;
// else both locks are held meanwhile, so that nobody moves them.
func (p *Pipeline) look(f func(*archive) error) (err error) {
	for _, dir := range []string{p.c.State, p.c.Journal.Dir} {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return fmt.Errorf("look into %s: %w", dir, store.ErrNoState)
		}
	}
	prod, consumers, _ := p.halves()
	if p.opening() {
		return errOpening // the locks are its own, also while it waits for the disk
	}
	a := &archive{surveys: map[string][]journal.Segment{}}
	defer func() { err = errors.Join(err, a.close()) }()
	if prod == nil && consumers == nil {
		for _, half := range config.Locks(config.Both) {
			lock, err := p.c.disk.TakeLock(half, p.c.State, p.c.Journal.Dir)
			if err != nil {
				return err
			}
			a.locks = append(a.locks, lock.Close)
		}
	}
	for dir, to := range map[string]*journal.Folder{
		p.c.Journal.Dir: &a.journal, filepath.Join(p.c.State, "ledger"): &a.ledger, filepath.Join(p.c.State, "cursors"): &a.cursors,
	} {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue // nothing was pushed yet
		}
		if *to, err = p.c.disk.OpenFolder(dir); err != nil {
			return err
		}
	}
	return f(a)
}

func (a *archive) close() error {
	var errs []error
	for _, d := range []journal.Folder{a.journal, a.ledger, a.cursors} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	for _, unlock := range a.locks {
		errs = append(errs, unlock())
	}
	return errors.Join(errs...)
}

// query is what a look is for: lines that hold one of keys, in a segment that has
// keys, or else needle; without a needle each line is asked for its keys. Without
// keys every segment is read whole, the oldest first; with keys the newest is
// first. After limit lines that were taken it is enough; 0: there is no limit.
type query struct {
	keys   [][]byte
	needle []byte
	limit  int
}

func one(by, key string, needle []byte) query {
	return query{keys: [][]byte{append([]byte(by), key...)}, needle: needle, limit: 2 * maxStory}
}

// each calls f for the lines that q is for in the segments of base, and again
// for what is sealed meanwhile: lines that were active may then be told twice. f
// says whether it took the line.
func each(ctx context.Context, d journal.Folder, base string, q query, f func(s journal.Segment, offset int64, text []byte) bool) error {
	read, taken, asked := map[string]bool{}, 0, map[string]bool{}
	for _, key := range q.keys {
		asked[string(key)] = true
	}
	for first := true; ; first = false {
		all, err := journal.Survey(d, base)
		if err != nil {
			return fmt.Errorf("list segments: %w", err)
		}
		if !first && !slices.ContainsFunc(all, func(s journal.Segment) bool { return !s.Active && !read[s.Name] }) {
			return nil
		}
		if q.keys != nil {
			slices.Reverse(all)
		}
		for _, s := range all {
			if read[s.Name] {
				continue
			}
			read[s.Name] = !s.Active
			err := q.in(ctx, d, s, func(offset int64, text []byte) (more bool) {
				if (q.keys == nil || q.needle != nil || holds(text, asked)) && f(s, offset, text) {
					taken++
				}
				return !q.enough(taken)
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // pruned, or just cut
				return err
			}
			if q.enough(taken) {
				return nil
			}
		}
	}
}

func (q query) enough(taken int) bool { return q.limit > 0 && taken >= q.limit }

// holds reports whether a line has one of keys.
func holds(text []byte, keys map[string]bool) (ok bool) {
	sample.KeysOf(text, func(key []byte) { ok = ok || keys[string(key)] })
	return ok
}

// in looks into one segment.
func (q query) in(ctx context.Context, d journal.Folder, s journal.Segment, f func(offset int64, text []byte) (more bool)) error {
	if q.keys != nil && !s.Active {
		if ok, err := journal.FindKeys(ctx, d, s.Name, q.keys, f); ok || err != nil {
			return err
		}
	}
	return journal.Find(ctx, d, s, q.needle, func(offset int64, text []byte) error {
		f(offset, text)
		return nil
	})
}

// lines calls told for the journal's samples that q is for; it says whether it
// took one.
func (a *archive) lines(ctx context.Context, q query, told func(sample.At, sample.Sample) bool) error {
	for _, lane := range sample.Lanes {
		err := each(ctx, a.journal, journal.Base(lane), q, func(s journal.Segment, offset int64, text []byte) bool {
			l, err := sample.ParseLine(text)
			// Else a header, or what the consumer passes over too.
			return err == nil && told(sample.At{Lane: lane, Pos: journal.Pos{Segment: s.Number, Offset: offset}}, l)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cursorsOf returns a scanner's cursor in each lane. One that is missing or
// cannot be read is at the beginning.
func (a *archive) cursorsOf(scanner string) map[string]journal.Pos {
	at := map[string]journal.Pos{}
	for _, lane := range sample.Lanes {
		if a.cursors != nil {
			if cur, err := journal.LoadCursor(a.cursors, scanner+"."+lane); err == nil {
				at[lane] = cur
			}
		}
	}
	return at
}

// line returns the sample at a place of the journal; ok is false when its
// segment is pruned.
func (a *archive) line(at sample.At) (s sample.Sample, ok bool, err error) {
	for range 2 {
		all := a.surveys[at.Lane]
		i := slices.IndexFunc(all, func(s journal.Segment) bool { return s.Number == at.Segment })
		if i >= 0 {
			text, ok, err := journal.LineAt(a.journal, all[i], at.Offset)
			if err == nil && ok {
				s, err := sample.ParseLine(text)
				return s, err == nil, nil // else no line of ours, or a damaged one
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return s, false, err
			}
		} else if len(all) > 0 && at.Segment <= all[len(all)-1].Number {
			return s, false, nil
		}
		// It was begun or cut since the listing.
		if a.surveys[at.Lane], err = journal.Survey(a.journal, journal.Base(at.Lane)); err != nil {
			return s, false, fmt.Errorf("list journal: %w", err)
		}
	}
	return s, false, nil
}

// outcomes calls told for the outcomes that q is for; it says whether it took one.
func (a *archive) outcomes(ctx context.Context, q query, told func(sample.Outcome) bool) error {
	return a.recorded(ctx, ledger.Base, q, func(text []byte) bool {
		o, err := sample.ParseOutcome(text)
		return err == nil && told(o) // else unreadable, or the torn last line
	})
}

// recorded calls told for the lines of a series of the ledger's folder that q is
// for; it says whether it took one.
func (a *archive) recorded(ctx context.Context, base string, q query, told func(text []byte) bool) error {
	if a.ledger == nil {
		return nil
	}
	return each(ctx, a.ledger, base, q, func(_ journal.Segment, _ int64, text []byte) bool { return told(text) })
}
