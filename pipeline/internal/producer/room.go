// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/certpush/certpush/pipeline/internal/index"
)

// wait returns true when there is room to take in. It returns false if ctx ended first.
func (p *Producer) wait(ctx context.Context) bool {
	p.mu.Lock()
	room := p.room
	p.mu.Unlock()
	select {
	case <-room:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Stopped returns nil while the intake goes on, and otherwise why it is stopped.
func (p *Producer) Stopped() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full == nil {
		return nil
	}
	return fmt.Errorf("intake is stopped: %w", p.full)
}

// fail stops the intake until look finds that it can go on. It logs only the first
// reason.
func (p *Producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil {
		return
	}
	p.full, p.room = err, make(chan struct{})
	p.log.Error("intake stops; pushing goes on, and a sweep takes in what was missed when there is room again: free some space on the disk of the journal", "folder", p.c.Journal.Dir, "error", err)
}

// tend syncs the index, looks at the free space and hears of damage each second. It
// returns an error if the index is damaged, and notes that for the next start.
func (p *Producer) tend(ctx context.Context) error {
	p.tended.Store(time.Now().UnixNano())
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.index.Found():
			err := p.index.Damage()
			return errors.Join(fmt.Errorf("the index: %w: start certpush again, then it is built anew", err), index.LeaveDamaged(p.c.Disk, filepath.Join(p.c.State, "index"), err))
		case <-t.C:
		}
		p.tended.Store(time.Now().UnixNano())
		err := p.index.Sync(ctx)
		if err != nil && !failing {
			p.log.Error("index cannot be synced; nothing is pruned meanwhile: look at the disk", "error", err)
		}
		failing = err != nil
		p.look()
		p.hearDamage()
	}
}

// look compares the free space with min_free. If it is less, finished segments are
// pruned first; if that is not enough, intake stops. When there is room again intake
// goes on, and all trees are swept.
func (p *Producer) look() {
	short := p.short()
	if short != nil {
		p.Prune(1)
		short = p.short()
	}
	p.mu.Lock()
	was := p.full
	p.mu.Unlock()
	switch {
	case short != nil:
		p.fail(short)
	case was != nil && p.refused.Load() == 0: // while appends fail, they are the test of the disk
		p.log.Info("intake goes on; a sweep takes in what was missed")
		p.mu.Lock()
		p.full = nil
		close(p.room)
		p.mu.Unlock()
		p.sweepAll()
	}
}

// short returns nil if there is enough room or the free space is not known. Otherwise
// the error says how much is free, and how much is needed.
func (p *Producer) short() error {
	free, err := p.lanes.Free()
	if err != nil || free >= p.c.Journal.MinFree {
		return nil
	}
	return fmt.Errorf("%d MiB are free, min_free is %d MiB", free>>20, p.c.Journal.MinFree>>20)
}

// sweepAll asks for a sweep of every tree.
func (p *Producer) sweepAll() {
	for i, t := range p.c.Trees {
		p.watcher.Ask(i, t.Path)
	}
}
