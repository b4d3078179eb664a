// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scanners"
)

// copyDirect is how much memory, in bytes, holds copies for a Scan.
const copyDirect = 64 << 20

// DownError says that a scanner cannot be reached.
type DownError struct {
	Scanner string
	Err     error
}

func (e *DownError) Error() string { return "reach scanner " + e.Scanner + ": " + e.Err.Error() }

// Unwrap returns the error of the ping or the push.
func (e *DownError) Unwrap() error { return e.Err }

// Scanner returns the scanner that s describes. The error says what is wrong with s.
func Scanner(s config.Scanner, log *slog.Logger) (scan.Scanner, error) {
	sc, err := scanners.New(scan.Config{Type: s.Type, Addresses: s.Addresses, Timeout: s.Timeout, MaxSize: s.MaxSize, Lists: s.Lists, Log: log})
	if err != nil {
		return nil, fmt.Errorf("scanner %s: %w", s.Name, err)
	}
	return sc, nil
}

// Ping asks one scanner whether it is ready, and returns its version. The error is a
// *DownError if it does not answer; otherwise it says what is wrong with s.
func Ping(ctx context.Context, s config.Scanner) (version string, err error) {
	sc, err := Scanner(s, nil)
	if err != nil {
		return "", err
	}
	if version, err = sc.Ping(ctx); err != nil {
		return "", &DownError{s.Name, err}
	}
	return version, nil
}

// Scan pushes the files at and below paths to each scanner now, without a journal, and
// calls each with every outcome. Below trees it follows no link. It ends early with ctx's
// error, or with a *DownError if a scanner cannot be reached.
func Scan(ctx context.Context, trees []config.Tree, to []config.Scanner, log *slog.Logger, paths []string, each func(sample.Outcome)) error {
	var all []reached
	for _, s := range to {
		sc, err := Scanner(s, log)
		if err != nil {
			return err
		}
		defer rest(sc)
		if _, err := sc.Ping(ctx); err != nil {
			return &DownError{s.Name, err}
		}
		sights := newSights(Config{Scanner: s, Scan: sc, Log: slog.New(slog.DiscardHandler)}, forgetful{})
		if sights.asks {
			if err := sights.ask(ctx); err != nil {
				return &DownError{s.Name, err}
			}
		}
		all = append(all, reached{s, sights})
	}
	for _, arg := range paths {
		if err := scanBelow(ctx, arg, trees, all, each); err != nil {
			return err
		}
	}
	return nil
}

// reached is a scanner that answered its ping, and what it sees.
type reached struct {
	c      config.Scanner
	sights *sights
}

// Sight asks each address of a scanner now what it sees. The error is a *DownError if
// none answers; otherwise it says what is wrong with s. Without canaries the list is
// empty. In dir, which may be empty, lies a file for a moment; without it one canary is not
// asked.
func Sight(ctx context.Context, s config.Scanner, dir string) ([]scan.Sight, error) {
	sc, err := Scanner(s, nil)
	if err != nil {
		return nil, err
	}
	defer rest(sc)
	sights := newSightsIn(dir, Config{Scanner: s, Scan: sc, Log: slog.New(slog.DiscardHandler)}, forgetful{})
	if !sights.asks {
		return nil, nil
	}
	if err := sights.ask(ctx); err != nil && ctx.Err() != nil {
		return nil, &DownError{s.Name, err}
	}
	for _, e := range sights.eyes {
		if e.sight.Plain == scan.Yes { // nobody else has it
			_ = sights.askOne(ctx, e, scan.Depth) // noted
			if e.sight.Ordinary != "" {
				_ = sights.askOne(ctx, e, scan.Ordinary) // noted
			}
		}
	}
	return sights.all(), nil
}

// direct pushes to one scanner without a journal.
type direct struct {
	c      config.Scanner
	sights *sights
	opener *opener
	batch  []*push
	each   func(sample.Outcome)
}

// scanBelow pushes one argument to all scanners: a file, or all files below a folder.
// The argument itself may be a link outside of the trees; links below it, and below a
// tree, are not followed.
func scanBelow(ctx context.Context, arg string, trees []config.Tree, to []reached, each func(sample.Outcome)) error {
	root, tree, err := placed(arg, trees)
	if err != nil {
		return err
	}
	var all []*direct
	for _, r := range to {
		all = append(all, &direct{c: r.c, sights: r.sights, opener: newOpener([]config.Tree{{Path: tree}}, false, scan.HandsOver(r.sights.scanner()), NewCopies(copyDirect), NewMetrics().uncopied.WithLabelValues(r.c.Name)), each: each})
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			return ctx.Err()
		}
		for _, n := range all {
			if err := n.add(ctx, path); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	for _, n := range all {
		if err == nil {
			err = n.flush(ctx)
		}
	}
	return err
}

// add puts a file into the batch, and pushes the batch if it is full: as many files as
// the scanner has workers at most.
func (d *direct) add(ctx context.Context, path string) error {
	d.batch = append(d.batch, &push{line: line{sample: sample.Sample{Path: path, Via: sample.ViaManual}}})
	if len(d.batch) < d.c.MostWorkers() {
		return nil
	}
	return d.flush(ctx)
}

// flush pushes the batch in one session, and then each file that got no outcome in a
// session of its own.
func (d *direct) flush(ctx context.Context) error {
	batch := d.batch
	d.batch = nil
	left, err := d.session(ctx, batch, false)
	if err != nil {
		return err
	}
	for _, p := range left {
		if _, err := d.session(ctx, []*push{p}, true); err != nil {
			return err
		}
	}
	return nil
}

// session pushes batch in one session of the scanner, and returns the pushes that need
// another one. With last there is no other session: each answer becomes an outcome.
func (d *direct) session(ctx context.Context, batch []*push, last bool) (left []*push, err error) {
	var all []entry
	defer func() {
		for _, e := range all {
			e.push.file.shut()
		}
	}()
	in := newRoots()
	defer in.end()
	answers := d.sights.scanner().Scan(ctx, func(yield func(scan.File) bool) {
		for _, p := range batch {
			e := entry{ended: ended{push: p, out: sample.Outcome{Scanner: d.c.Name, Path: p.sample.Path, Tries: 1}, began: time.Now()}}
			if e.way = d.opener.open(ctx, in, p, &e.out, func() bool { return false }); e.way == parked {
				return // ctx has ended
			}
			all = append(all, e)
			if e.way == ready && !yield(p.file.toScan()) {
				return
			}
		}
	})
	answered(all, answers)
	for i := range all {
		e := &all[i]
		switch e.way {
		case held, unread:
			e.out.Outcome, e.out.Reason = sample.Dead, e.push.trial.reason()
		case ready:
			again, err := d.take(ctx, e, e.answer, last)
			if err != nil {
				return nil, err
			}
			if again {
				left = append(left, e.push)
			}
		}
		if e.out.Outcome != "" {
			e.out.Time = time.Now()
			e.out.Took = e.out.Time.Sub(e.began)
			d.each(e.out)
		}
	}
	if ctx.Err() != nil {
		return left, ctx.Err()
	}
	// The scanner took no more than these: the session failed before it came to the rest.
	rest := batch[len(all):]
	if !last {
		return append(left, rest...), nil
	}
	for _, p := range rest {
		d.each(sample.Outcome{
			Time: time.Now(), Scanner: d.c.Name, Path: p.sample.Path, Tries: 1,
			Outcome: sample.Dead, Reason: scan.Unclear.String() + ": the session ended before the file was sent",
		})
	}
	return nil, nil
}

// take turns an answer into an outcome. It returns again if the push needs another
// session, and a *DownError if the scanner is down or sick.
func (d *direct) take(ctx context.Context, e *entry, a scan.Answer, last bool) (again bool, err error) {
	d.sights.reach(ctx, a.Address, e.push.file.stat.Size)
	a, by, ok := d.sights.bound(a, e.push.file.toScan())
	by.end() // nothing is recorded
	if !ok {
		a = scan.Answer{Err: scan.Failed(scan.Unclear, "the address that judged it is blind")}
	}
	if e.push.judge(a, &e.out) {
		return false, nil
	}
	switch f := a.Err; {
	case f != nil && (f.Kind == scan.Down || f.Kind == scan.Sick):
		return false, &DownError{d.c.Name, f}
	case !last:
		return true, nil
	case f == nil:
		e.out.Outcome, e.out.Reason = sample.Skipped, sample.ReasonChanged
	default:
		e.out.Outcome, e.out.Reason = sample.Dead, describe(f.Kind.String(), f)
	}
	return false, nil
}
