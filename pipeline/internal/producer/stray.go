// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// stray is a line that strayed: when it was pushed, its path led to no regular file.
type stray struct {
	path string
	at   sample.At
}

// Stray notes that a line strayed. It never waits, because the index may be waiting for
// its disk, and pushing must go on.
func (p *Producer) Stray(path string, at sample.At) {
	p.mu.Lock()
	p.strays = append(p.strays, stray{path, at})
	p.mu.Unlock()
	select {
	case p.strayed <- struct{}{}:
	default:
	}
}

// forgetStrays makes the index forget the lines that strayed, so that a file is
// journaled again when it comes back. It may be back already, so its path settles
// again.
//
// A crash before the index has this on disk: if the same version comes back, it keeps
// the outcome that it has.
func (p *Producer) forgetStrays(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.strayed:
		}
		p.mu.Lock()
		all := p.strays
		p.strays = nil
		p.mu.Unlock()
		for _, s := range all {
			if ctx.Err() != nil {
				return nil
			}
			if err := p.index.ForgetLine(ctx, s.path, s.at); err != nil {
				p.log.Error("index cannot forget a file that is gone; should it come back unchanged it is not pushed again: look at the disk", "path", s.path, "error", err)
			}
			p.watcher.Again(s.path)
		}
	}
}

// Forget makes the index forget a line that ends unread although its file is there. If
// it returns nil that is on disk, and only then may the line end. ok is always true:
// this Source can forget.
//
// A crash here: the line is pushed again, and the sweep at start journals the file.
func (p *Producer) Forget(ctx context.Context, path string, at sample.At) (ok bool, err error) {
	if err := p.index.ForgetLine(ctx, path, at); err != nil {
		return true, err
	}
	return true, p.index.Persist(ctx)
}

// Again lets a path settle again, because its file is another version now. It does not
// wait.
func (p *Producer) Again(path string) { p.watcher.Again(path) }
