// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"golang.org/x/time/rate"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

const (
	mediaRate  = 32 << 20  // bytes a second: what is hashed of a file system that is unknown
	mediaPiece = 256 << 10 // at most so many bytes are read between two pauses
	fileCost   = 16 << 10  // a file costs at least so much of the rate
)

// media looks at file systems that are others than those that were noted: their files may
// have other bytes with the inode numbers and times that the index knows. It hashes these
// files, behind all other work, and lets those be journaled again that differ from their
// outcomes, or whose outcome has no hash.
//
// The identity is noted when that is done. A crash before that: the next sweep of the
// whole tree asks for it once more.
type media struct {
	*proofs
	trees []watch.Tree
	log   *slog.Logger
	woken chan struct{} // a token: a file system is asked for

	mu    sync.Mutex // guards asked
	asked map[string]medium
}

// medium is a file system that is to be looked at.
type medium struct {
	tree int
	id   string
}

// met notes the file system at path, which a sweep came to. If another one was noted, it
// asks for a look at its files.
func (m *media) met(ctx context.Context, tree int, path string) error {
	is, err := watch.MediumOf(path)
	if err != nil || is.ID == "" {
		return nil //nolint:nilerr // the sweep of the folder tells what is wrong; without an identity nothing can be compared
	}
	switch noted, ok := m.index.Medium(path); {
	case !ok:
		return m.index.SetMedium(ctx, path, is.ID)
	case noted == is.ID:
		return nil
	}
	m.mu.Lock()
	m.asked[path] = medium{tree, is.ID}
	m.mu.Unlock()
	select {
	case m.woken <- struct{}{}:
	default:
	}
	return nil
}

// run looks at the file systems that are asked for, until ctx ends.
func (m *media) run(ctx context.Context) error {
	for {
		path, is, ok := m.next()
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-m.woken:
			}
			continue
		}
		m.log.Info("a file system is another one than before, or may be; its files are hashed, and what differs is pushed again", "path", path)
		files, differ, err := m.look(ctx, path, is)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			m.log.Error("a file system that is another one than before cannot be looked at whole; the next sweep of its tree tries again: see that it can be read", "path", path, "error", err)
			continue
		}
		m.log.Info("the files of a file system were looked at", "path", path, "files", files, "differ", differ)
		if differ > 0 {
			m.watcher.Ask(is.tree, path)
		}
	}
}

func (m *media) next() (string, medium, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, is := range m.asked {
		delete(m.asked, path)
		return path, is, true
	}
	return "", medium{}, false
}

// look looks at each file of the file system at path, and notes its identity. It returns
// how many files it looked at, and how many must be journaled again.
func (m *media) look(ctx context.Context, path string, is medium) (files, differ int, err error) {
	pace := rate.NewLimiter(mediaRate, mediaPiece)
	dev, first := uint64(0), true
	err = watch.Walk(ctx, m.trees[is.tree], path, func(f watch.Folder) error {
		if first {
			dev, first = f.Dev, false
		}
		if f.Err != nil || f.Dev != dev { // what cannot be read is swept when it can be
			return nil
		}
		lines, afresh := map[string]sample.At{}, []string(nil)
		for _, e := range f.Entries {
			at := filepath.Join(f.Path, e.Name)
			if e.Stat.Kind() != "" {
				continue
			}
			if err := pace.WaitN(ctx, fileCost); err != nil {
				return err
			}
			files++
			line, other, err := m.differs(ctx, at, e.Stat, pace)
			if err != nil {
				return err
			}
			if other {
				lines[at], afresh = line, append(afresh, at)
			}
		}
		differ += len(afresh)
		return m.index.Amend(ctx, afresh, "", func(path string, e index.Entry) (index.Entry, bool) {
			same := e.At == lines[path]
			e.Bytes = index.Afresh
			return e, same
		})
	})
	if err != nil {
		return files, differ, fmt.Errorf("look at file system: %w", err)
	}
	return files, differ, m.index.SetMedium(ctx, path, is.id)
}

// differs reports whether a file must be journaled again, although the index knows its
// version by a line. One that waits to be pushed need not.
func (m *media) differs(ctx context.Context, path string, st watch.Stat, pace *rate.Limiter) (line sample.At, differs bool, err error) {
	e, ok, err := m.index.Get(path)
	if err != nil || !ok || !e.Knows(st, m.watcher.Same(path, st.Dev)) {
		return line, false, err
	}
	if e.Bytes != index.Proved && e.Bytes != index.Hashed {
		return e.At, m.done(e.At), nil
	}
	sum, _, err := m.hash(ctx, path, func(n int) error { return pace.WaitN(ctx, n) })
	if ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
		return line, false, ctx.Err()
	}
	return e.At, err != nil || sum != e.Sum, nil
}

// done reports whether a line has all its outcomes, as the cursors on disk say.
func (p *proofs) done(at sample.At) bool {
	floor, err := p.cursors(at.Lane)
	return err == nil && at.Pos.Before(floor)
}
