// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"fmt"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// Append journals manual lines in the live lane, durably. It fails while the intake is
// stopped. It does not note them in the index: a line for one scanner says nothing
// about the others.
func (p *Producer) Append(lines [][]byte) error {
	if err := p.gate.stopped(); err != nil {
		return err
	}
	if len(lines) == 0 {
		return nil
	}
	if _, _, err := p.lanes.Lane(journal.Live).Append(lines...); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	p.m.journaled.WithLabelValues(journal.Live).Add(float64(len(lines)))
	return nil
}

// File is a file in a tree.
type File struct {
	Tree int // index of its tree
	Path string
}

// Requeue journals files again in the backlog lane, except those that known then
// reports as known, and those that are settling. It returns how many it journaled. If
// the intake stops, or ctx ends, it stops early with an error.
func (p *Producer) Requeue(ctx context.Context, files []File, known func(path string) bool) (n int, err error) {
	s := &sweep{p: p, ok: true}
	defer s.drop()
	for _, f := range files {
		if err := p.gate.stopped(); err != nil {
			return s.fresh, err
		}
		s.take(ctx, f.Tree, f.Path, sample.ViaManual, func() bool { return known(f.Path) },
			func() (watch.Stat, bool) { return p.watcher.Settled(f.Tree, f.Path) })
	}
	s.flush(ctx)
	return s.fresh, ctx.Err()
}
