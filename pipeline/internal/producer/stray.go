// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// stray is a line whose path led nowhere, or to no file, when it was pushed.
type stray struct {
	path string
	at   sample.At
}

// Stray takes a line that strayed. It never blocks: the index may be waiting for
// its disk, and pushing goes on.
func (p *Producer) Stray(path string, at sample.At) {
	p.mu.Lock()
	p.strays = append(p.strays, stray{path, at})
	p.mu.Unlock()
	select {
	case p.strayed <- struct{}{}:
	default:
	}
}

// forgetStrays has the index forget what strayed, so that it is journaled when it
// comes back; and it may be back already.
//
// A crash before the index has it on disk: should the same version come back, it
// stays with the outcome that it has.
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

// Forget has the index forget a line that ends although its file is there and was
// never read. It is on disk when Forget returns: only then may the line end.
//
// A crash here: the line is pushed again, and the sweep at start journals the file.
func (p *Producer) Forget(ctx context.Context, path string, at sample.At) (ok bool, err error) {
	if err := p.index.ForgetLine(ctx, path, at); err != nil {
		return true, err
	}
	return true, p.index.Persist(ctx)
}

// Again hands a path back to settle: its file is another version by now.
func (p *Producer) Again(path string) { p.watcher.Again(path) }
