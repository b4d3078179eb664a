// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
)

// Lanes is the producer's side of a journal: the Series of both lanes, in one folder.
type Lanes struct {
	every         time.Duration
	log           *slog.Logger
	live, backlog *Series
}

// OpenLanes opens or creates both lanes in c.Dir. It does not use c.Base and c.Lane. Run
// cuts them at each full multiple of every. The caller holds the producer's lock.
func OpenLanes(c Config, every time.Duration, log *slog.Logger) (*Lanes, error) {
	open := func(lane string) (*Series, error) {
		c := c
		c.Lane, c.Base = lane, Base(lane)
		return OpenSeries(c, log)
	}
	live, err := open(Live)
	if err != nil {
		return nil, err
	}
	backlog, err := open(Backlog)
	if err != nil {
		return nil, errors.Join(err, live.Close())
	}
	return &Lanes{every: every, log: log, live: live, backlog: backlog}, nil
}

// Lane returns the Series of a lane.
func (l *Lanes) Lane(lane string) *Series {
	if lane == Backlog {
		return l.backlog
	}
	return l.live
}

// Run cuts the segments that hold lines at each full multiple of every, and calls tend
// after that. It also makes lines durable that others appended. It returns when ctx
// ends, or with the error of listening to the folder. Errors of cuts are logged.
func (l *Lanes) Run(ctx context.Context, tend func(now time.Time)) error {
	heard := make(chan struct{}, 1)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer func() { cancel(); <-done }()
	// At once: a commit that waits holds the turn, and a cut below waits for it.
	hurry := func() { l.live.Hurry(); l.backlog.Hurry() }
	stop := context.AfterFunc(ctx, hurry)
	defer func() { stop(); hurry() }()
	go func() {
		done <- l.live.dir.Listen(ctx, l.log, func() {
			select {
			case heard <- struct{}{}:
			default:
			}
		})
	}()
	var cuts, adopts condition.Condition
	for {
		now := time.Now()
		next := time.NewTimer(now.Truncate(l.every).Add(l.every).Sub(now))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case err := <-done:
			next.Stop()
			done <- nil
			return err
		case <-heard:
			next.Stop()
			err := errors.Join(l.live.Adopt(), l.backlog.Adopt())
			if errors.Is(err, os.ErrClosed) {
				continue
			}
			switch adopts.Note(err) {
			case condition.Began:
				l.log.Error("lines that others appended cannot be taken in; it is tried at each change of the folder: look at the disk", "error", err)
			case condition.Ended:
				l.log.Info("lines that others appended are taken in again")
			}
		case <-next.C:
			var err error
			for _, s := range []*Series{l.live, l.backlog} {
				err = errors.Join(err, s.Cut(time.Now()))
			}
			switch cuts.Note(err) {
			case condition.Began:
				l.log.Error("cut refused; appending goes on, and it is tried each minute: see that nothing else holds the file and that there is room", "error", err)
			case condition.Ended:
				l.log.Info("segments are cut again")
			}
			tend(time.Now())
		}
	}
}

// Size returns how many bytes the journal's segments have.
func (l *Lanes) Size() int64 {
	n := int64(0)
	for _, base := range []string{l.live.c.Base, l.backlog.c.Base} {
		names, _ := Segments(l.live.dir, base) // a folder that cannot be listed counts as empty
		for _, name := range names {
			if st, err := l.live.dir.Lstat(name); err == nil {
				n += st.Size()
			}
		}
	}
	return n
}

// NewReader returns a Reader of a lane that begins at from.
func (l *Lanes) NewReader(lane string, from Pos, log *slog.Logger) (*Reader, error) {
	s := l.Lane(lane)
	return NewReader(s.dir, s.c.Base, from, s, log)
}

// Free returns how many bytes may still be written to the journal's disk.
func (l *Lanes) Free() (int64, error) { return l.live.dir.Free() }

// Close closes both lanes.
func (l *Lanes) Close() error {
	if err := errors.Join(l.live.Close(), l.backlog.Close()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}
