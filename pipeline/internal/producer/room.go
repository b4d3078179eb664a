// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/store"
)

// gate lets files in while there is room.
type gate struct {
	folder string // of the journal, for messages
	log    *slog.Logger

	refused atomic.Int64 // appends that failed and are being tried again

	mu   sync.Mutex    // guards the fields below
	room chan struct{} // closed while there is room
	full error         // why the intake is stopped; nil: it is not
}

func newGate(folder string, log *slog.Logger) *gate {
	g := &gate{folder: folder, log: log, room: make(chan struct{})}
	close(g.room)
	return g
}

// wait returns true when there is room to take in. It returns false if ctx ended first.
func (g *gate) wait(ctx context.Context) bool {
	g.mu.Lock()
	room := g.room
	g.mu.Unlock()
	select {
	case <-room:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// stopped returns nil while the intake goes on, and otherwise why it is stopped.
func (g *gate) stopped() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full == nil {
		return nil
	}
	return fmt.Errorf("intake is stopped: %w", g.full)
}

// fail stops the intake until open lets it go on. It logs only the first reason.
func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full != nil {
		return
	}
	g.full, g.room = err, make(chan struct{})
	g.log.Error("intake stops; pushing goes on, and a sweep takes in what was missed when there is room again: free some space on the disk of the journal", "folder", g.folder, "error", err)
}

// open lets the intake go on. It returns false if the intake was not stopped, or while
// appends are being tried again: they are the test of the disk.
func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full == nil || g.refused.Load() > 0 {
		return false
	}
	g.log.Info("intake goes on; a sweep takes in what was missed")
	g.full = nil
	close(g.room)
	return true
}

// tend syncs the index, looks at the free space and hears of damage each second. It
// returns an error if the index is damaged, and notes that for the next start.
func (p *Producer) tend(ctx context.Context) error {
	p.tended.Store(time.Now().UnixNano())
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	var unsynced condition.Condition
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.index.Found():
			err := p.index.Damage()
			if store.Hinders(err) {
				return fmt.Errorf("the index: %w: start certpush again", err)
			}
			return errors.Join(fmt.Errorf("the index: %w: start certpush again, then it is built anew", err), index.LeaveDamaged(p.c.Disk, filepath.Join(p.c.State, "index"), err))
		case <-t.C:
		}
		p.tended.Store(time.Now().UnixNano())
		err := p.index.Sync(ctx)
		switch unsynced.Note(err) {
		case condition.Began:
			p.log.Error("index cannot be synced; nothing is pruned meanwhile: look at the disk", "error", err)
		case condition.Ended:
			p.log.Info("index is synced again")
		}
		p.keepRoom()
		p.taken.hear()
		if p.damages.hear() {
			p.sweepAll()
		}
	}
}

// keepRoom compares the free space with min_free. If it is less, finished segments are
// pruned first; if that is not enough, intake stops. When there is room again intake
// goes on, and all trees are swept.
func (p *Producer) keepRoom() {
	short := p.short()
	if short != nil {
		p.Prune(1)
		short = p.short()
	}
	switch {
	case short != nil:
		p.gate.fail(short)
	case p.gate.open():
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
