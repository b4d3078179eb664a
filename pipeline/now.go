// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// DownError says that a scanner cannot be reached.
type DownError struct {
	Scanner string
	Err     error
}

func (e *DownError) Error() string { return "reach scanner " + e.Scanner + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *DownError) Unwrap() error { return e.Err }

// Ping asks one scanner whether it is ready and returns its version. The error
// is a *DownError, or says what is wrong with s.
func Ping(ctx context.Context, s config.Scanner) (version string, err error) {
	all, err := config.FillScanners([]config.Scanner{s})
	if err != nil {
		return "", err
	}
	sc, err := scan.New(scanConfig(all[0], nil))
	if err != nil {
		return "", fmt.Errorf("scanner %s: %w", s.Name, err)
	}
	if version, err = sc.Ping(ctx); err != nil {
		return "", &DownError{s.Name, err}
	}
	return version, nil
}

// Scan pushes the files at and below paths to each scanner now, without a
// journal, and tells of each outcome. Only Trees and State of c are not used. It
// ends early with ctx's error, or with a *DownError when a scanner cannot be
// reached.
func Scan(ctx context.Context, c Config, paths []string, each func(sample.Outcome)) error {
	scanners, err := config.FillScanners(c.Scanners)
	if err != nil {
		return err
	}
	var all []*now
	for _, s := range scanners {
		sc, err := scan.New(scanConfig(s, c.Log))
		if err != nil {
			return fmt.Errorf("scanner %s: %w", s.Name, err)
		}
		if _, err := sc.Ping(ctx); err != nil {
			return &DownError{s.Name, err}
		}
		all = append(all, &now{c: s, scanner: sc, each: each})
	}
	for _, arg := range paths {
		if err := scanBelow(ctx, arg, all); err != nil {
			return err
		}
	}
	return nil
}

// now pushes to one scanner without a journal.
type now struct {
	c       config.Scanner
	scanner scan.Scanner
	opener  *opener
	batch   []*push
	each    func(sample.Outcome)
}

// scanBelow pushes one argument: a file, or all below a folder. The argument
// itself may be a link, nothing below it is followed.
func scanBelow(ctx context.Context, arg string, all []*now) error {
	root, err := filepath.Abs(arg)
	if err != nil {
		return fmt.Errorf("resolve path: %w", err)
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	tree := filepath.Dir(root)
	if st, err := os.Stat(root); err == nil && st.IsDir() {
		tree = root
	}
	for _, n := range all {
		n.opener = newOpener([]config.Tree{{Path: tree}})
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

func (n *now) add(ctx context.Context, path string) error {
	n.batch = append(n.batch, &push{sample: sample.Sample{Path: path, Via: sample.ViaManual}})
	if len(n.batch) < n.c.Workers {
		return nil
	}
	return n.flush(ctx)
}

// flush pushes the batch in one session, and what that leaves open one by one.
func (n *now) flush(ctx context.Context) error {
	batch := n.batch
	n.batch = nil
	left, err := n.session(ctx, batch, false)
	if err != nil {
		return err
	}
	for _, p := range left {
		if _, err := n.session(ctx, []*push{p}, true); err != nil {
			return err
		}
	}
	return nil
}

func (n *now) session(ctx context.Context, batch []*push, last bool) (left []*push, err error) {
	outs := make(map[*push]*sample.Outcome, len(batch))
	var inside []*push
	defer func() {
		for _, p := range inside {
			p.shut()
		}
	}()
	answers := n.scanner.Scan(ctx, iter.Seq[scan.File](func(yield func(scan.File) bool) {
		for _, p := range batch {
			out := &sample.Outcome{Scanner: n.c.Name, Path: p.sample.Path, Tries: 1}
			p.began, outs[p] = time.Now(), out
			switch n.opener.open(ctx, p, out, func() bool { return false }) {
			case unfinished:
				return // ctx has ended
			case later:
				out.Outcome, out.Reason = sample.Dead, p.reason
			case ready:
				inside = append(inside, p)
				if !yield(scan.File{F: p.file, Size: p.stat.Size, SHA256: p.sum}) {
					return
				}
			}
		}
	}))
	for i, p := range inside {
		if i >= len(answers) || p.judge(answers[i], outs[p]) {
			continue
		}
		f := answers[i].Err
		switch {
		case f != nil && (f.Kind == scan.Down || f.Kind == scan.Sick):
			return nil, &DownError{n.c.Name, f}
		case !last:
			left = append(left, p)
			delete(outs, p)
		case f == nil:
			outs[p].Outcome, outs[p].Reason = sample.Skipped, sample.ReasonChanged
		default:
			outs[p].Outcome, outs[p].Reason = sample.Dead, describe(kindName(f.Kind), f)
		}
	}
	for _, p := range batch {
		if out := outs[p]; out != nil && out.Outcome != "" {
			out.Time = time.Now()
			out.Took = out.Time.Sub(p.began)
			n.each(*out)
		}
	}
	return left, ctx.Err()
}
