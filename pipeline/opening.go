// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// opening is the state while it is open: the parts that were opened, in this order, and
// the functions that work on it.
type opening struct {
	p         *Pipeline
	dirs      *store.Folders
	tails     map[string]journal.Tail // by lane
	lanes     *journal.Lanes
	prod      *producer.Producer
	led       *ledger.Ledger
	heard     journal.Folder // of the ledger that another process writes; nil: none does
	consumers []*consumer.Consumer

	run     []func(context.Context) error // each runs until its context ends
	closers []func() error                // of the parts that are open, in the order of opening
}

// open takes the locks and opens what p's half needs. If it fails, the parts that are
// open stay open: the caller calls close.
func (o *opening) open(ctx context.Context) (err error) {
	c := o.p.c
	for _, half := range config.Locks(c.Half) {
		lock, err := c.disk.TakeLock(half, c.State, c.Journal.Dir)
		if err != nil {
			return err
		}
		o.closers = append(o.closers, lock.Close)
	}
	if o.dirs, err = store.OpenFolders(c.disk, c.State, c.Journal.Dir); err != nil {
		return err
	}
	o.closers = append(o.closers, o.dirs.Close)
	if c.Half != ConsumerOnly {
		if err := o.openProducer(ctx); err != nil {
			return inside(err)
		}
	}
	if c.Half != ProducerOnly {
		return inside(o.openConsumers(ctx))
	}
	return nil
}

// close closes the open parts, the last one first.
func (o *opening) close() (err error) {
	for _, c := range slices.Backward(o.closers) {
		err = errors.Join(err, c())
	}
	return err
}

// openProducer opens the journal's lanes and a producer.
func (o *opening) openProducer(ctx context.Context) error {
	c := o.p.c
	l, err := journal.OpenLanes(journal.Config{Disk: c.disk, Dir: c.Journal.Dir, First: o.dirs.First, CutSize: c.Journal.CutSize, Sync: c.Journal.Sync}, c.Journal.CutEvery, c.Log)
	if err != nil {
		return err
	}
	o.lanes, o.closers = l, append(o.closers, l.Close)
	for _, lane := range sample.Lanes {
		o.tails[lane] = l.Lane(lane)
	}
	if err := o.raise(ctx); err != nil {
		return err
	}
	o.prod, err = producer.New(ctx, producer.Config{
		State: c.State, Trees: c.Trees, Journal: c.Journal, Scanners: c.Scanners, Half: c.Half,
		Disk: c.disk, Lanes: l, Cursors: o.dirs.Cursors, Outcomes: o.outcomes, Metrics: o.p.intake, Log: c.Log, Nap: c.nap, Ears: c.Ears,
	})
	if err != nil {
		return err
	}
	o.closers = append(o.closers, o.prod.Close)
	if c.Half == ProducerOnly {
		if o.heard, err = c.disk.OpenFolder(filepath.Join(c.State, "ledger")); err != nil {
			return err
		}
		o.closers = append(o.closers, o.heard.Close)
	}
	o.run = append(o.run, o.prod.Run, keepKeys(c, o.dirs.Journal, journal.Base(journal.Live), journal.Base(journal.Backlog)))
	return nil
}

// outcomes reads the ledger, which another process may write.
func (o *opening) outcomes(from string, most int, each func(text []byte)) (string, error) {
	if o.led != nil {
		return o.led.Story().Next(from, most, each)
	}
	return ledger.Foreign(o.heard).Next(from, most, each)
}

// openConsumers opens the ledger, the cache if a scanner uses it, and a consumer for
// each scanner.
func (o *opening) openConsumers(ctx context.Context) (err error) {
	c := o.p.c
	if c.Half == ConsumerOnly {
		live, backlog := journal.NewFollower(o.dirs.Journal, journal.Base(journal.Live)), journal.NewFollower(o.dirs.Journal, journal.Base(journal.Backlog))
		o.tails[journal.Live], o.tails[journal.Backlog] = live, backlog
		o.run = append(o.run, func(ctx context.Context) error { return journal.Follow(ctx, c.Log, live, backlog) })
	}
	var known *cache.Cache
	if o.led, err = ledger.Open(c.disk, filepath.Join(c.State, "ledger"), ledger.Bounds{
		Keep: c.Ledger.Keep, Max: c.Ledger.Max, MinFree: c.Journal.MinFree, Listed: o.p.letters.Listed,
		First: func(short bool) bool { return known == nil || known.Short(short) }, // asked by Run
	}, c.Log); err != nil {
		return err
	}
	o.closers = append(o.closers, o.led.Close)
	if err := o.putAside(); err != nil {
		return err
	}
	if known, err = o.openCache(ctx); err != nil {
		return err
	}
	var source consumer.Source = consumer.Apart{}
	outcome := func(out sample.Outcome) {
		o.p.letters.Note(out)
		c.Outcome(out)
	}
	if prod := o.prod; prod != nil {
		source = prod
		outcome = func(out sample.Outcome) {
			prod.Recorded()
			o.p.letters.Note(out)
			c.Outcome(out)
		}
	}
	copies, deep := consumer.NewCopies(c.CopyMemory), make(chan struct{}, 1)
	for _, s := range c.Scanners {
		sc, err := c.scanner(s, c.Log)
		if err != nil {
			return err
		}
		k, err := consumer.New(ctx, consumer.Config{
			Scanner: s, Scan: sc, Trees: c.Trees, Grace: c.Grace, Outcome: outcome,
			Dirs: o.dirs, Tail: func(lane string) journal.Tail { return o.tails[lane] },
			Ledger: o.led, Sync: max(c.Ledger.Sync, 0), Cache: known, Copies: copies, Deep: deep, Source: source, Metrics: o.p.pushes, Log: c.Log,
		})
		if err != nil {
			return err
		}
		o.consumers, o.closers, o.run = append(o.consumers, k), append(o.closers, k.Close), append(o.run, k.Run)
	}
	marks := func() (all []ledger.Mark) {
		for _, k := range o.consumers {
			all = append(all, k.Marks()...)
		}
		return all
	}
	o.run = append(o.run, func(ctx context.Context) error { return o.led.Run(ctx, marks) }, o.p.countDead, keepKeys(c, o.led.Dir, ledger.Base, ledger.TriesBase))
	return nil
}

// openCache opens the cache of verdicts. It returns nil if no scanner remembers any.
func (o *opening) openCache(ctx context.Context) (*cache.Cache, error) {
	c, longest := o.p.c, time.Duration(0)
	needed := false
	for _, s := range c.Scanners {
		longest = max(longest, s.Cache)
		needed = needed || s.Remembers()
	}
	if !needed {
		return nil, nil
	}
	for _, s := range c.Scanners {
		if consumer.KeptInCache(o.dirs.Cursors, s.Name) {
			// A crash here: the next start removes it again.
			if err := cache.Remove(c.disk, c.State); err != nil {
				return nil, err
			}
			break
		}
	}
	known, err := cache.Open(ctx, c.disk, c.State, longest, c.Log)
	if err != nil {
		return nil, err
	}
	o.closers, o.run = append(o.closers, known.Close), append(o.run, known.Run)
	return known, nil
}

// putAside renames the cursors of scanners that are not configured any more. Otherwise
// they would hold segments back for ever.
func (o *opening) putAside() error {
	dir, told := o.dirs.Cursors, map[string]bool{}
	for _, lane := range sample.Lanes {
		files, err := store.CursorFiles(dir, lane)
		if err != nil {
			return fmt.Errorf("list cursors: %w", err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(file, "."+lane)
			if slices.ContainsFunc(o.p.c.Scanners, func(s config.Scanner) bool { return s.Name == name }) {
				continue
			}
			switch {
			case told[name]:
			case name == config.DefaultScanner: // a first configuration names a scanner in its place
				o.p.c.Log.Info("the built-in hash list judges no more; its cursor is put aside", "file", filepath.Join(dir.Path(), file+".removed"))
			default:
				o.p.c.Log.Warn("scanner is not configured any more; its cursor is put aside and holds no segments back: delete the file, or rename it back before you configure the scanner again", "scanner", name, "file", filepath.Join(dir.Path(), file+".removed"))
			}
			told[name] = true
			if err := dir.Rename(file, file+".removed"); err != nil {
				return fmt.Errorf("put cursor aside: %w", err)
			}
		}
	}
	return errors.Join(o.dropTakenBack(), o.dropCanaries())
}

// dropCanaries removes the files of canaries that were asked when the process ended.
func (o *opening) dropCanaries() error {
	entries, err := o.dirs.Cursors.List()
	if err != nil {
		return fmt.Errorf("list canaries: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), scan.CanaryFile) {
			continue
		}
		if err := o.dirs.Cursors.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove canary: %w", err)
		}
	}
	return nil
}

// dropTakenBack removes the word of verdicts that scanners took back which are not
// configured any more: nobody would give them again.
func (o *opening) dropTakenBack() error {
	all, err := store.LoadTakenBack(o.dirs.Cursors)
	for _, t := range all {
		if !slices.ContainsFunc(o.p.c.Scanners, func(s config.Scanner) bool { return s.Name == t.Scanner }) {
			err = errors.Join(err, t.Forget(o.dirs.Cursors))
		}
	}
	return err
}

// keepKeys returns a function that keeps the keys of the series in dir, until its
// context ends.
func keepKeys(c Config, dir journal.Folder, bases ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		return journal.KeepKeys(ctx, dir, bases, sample.KeysOf, c.Journal.MinFree, c.Log)
	}
}

// errInside says that we may not read or write one of the state's own files, although
// we may use the folder. Run waits until we may.
var errInside = errors.New("a file of the state is not ours to use: let the user that certpush runs as read and write it")

// inside adds errInside to an error of missing permission.
func inside(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", errInside, err)
	}
	return err
}

// errScarce says what to do where descriptors or memory are used up. Run waits for them.
var errScarce = errors.New("descriptors or memory are used up: raise LimitNOFILE or MemoryMax of the unit, or end what uses them up")

// outOf adds errScarce to an error of that kind.
func outOf(err error) error {
	if store.Exhausted(err) {
		return fmt.Errorf("%w: %w", errScarce, err)
	}
	return err
}
