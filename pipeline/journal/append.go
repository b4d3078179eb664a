// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"runtime"
	"sync"
)

// batch holds the lines that one write takes.
type batch struct {
	buf     []byte
	sync    bool          // a caller waits until it is durable
	written chan struct{} // closed when the write has ended, and base is final
	base    Pos           // where buf lies in the series
	done    chan struct{} // closed when the lines are durable, or cut off; err is final
	ended   bool          // done is closed; the turn guards it
	err     error
}

func newBatch(buf []byte) *batch {
	return &batch{buf: buf, written: make(chan struct{}), done: make(chan struct{})}
}

// end ends a batch, if it has not ended before. The caller holds the turn.
func (b *batch) end(err error) {
	if !b.ended {
		b.ended, b.err = true, err
		close(b.done)
	}
}

// Append appends lines, each of which ends in a newline. It returns when they are
// durable, with the place of the first and the place after the last. The lines of one
// call lie together. After an error none of them counts as appended.
//
// The first goroutine in a batch commits it. While it waits for the commit before,
// others add their lines, and one fsync serves them all.
func (s *Series) Append(lines ...[]byte) (first, after Pos, err error) {
	b, at, end := s.add(true, lines)
	if b == nil {
		return s.Durable(), s.Durable(), nil
	}
	<-b.done
	return Pos{b.base.Segment, b.base.Offset + at}, Pos{b.base.Segment, b.base.Offset + end}, b.err
}

// Written is what one Write wrote.
type Written struct{ b *batch }

// Write is Append that does not wait for the disk: it returns when the system has the
// lines. They outlast the process, but not a power cut. Sync makes them durable.
func (s *Series) Write(lines ...[]byte) (Written, error) {
	b, _, _ := s.add(false, lines)
	if b == nil {
		return Written{}, nil
	}
	<-b.written
	select {
	case <-b.done:
		return Written{b}, b.err
	default:
		return Written{b}, nil
	}
}

// Sync makes all durable that is written, and returns when w is. After an error none of
// w's lines counts as appended, whoever's sync it was that failed: they are cut off.
func (s *Series) Sync(w Written) error {
	if w.b == nil {
		return nil
	}
	select {
	case <-w.b.done:
		return w.b.err
	default:
	}
	s.turn <- struct{}{}
	if !w.b.ended {
		_ = s.flush() // it ends w.b, with its error
	}
	<-s.turn
	return w.b.err
}

// add adds lines to the batch that gathers, and commits it if they are its first. at and
// end are their place in it. It returns no batch for no lines.
func (s *Series) add(sync bool, lines [][]byte) (b *batch, at, end int64) {
	b, at, end = s.join(sync, lines)
	if b != nil && at == 0 {
		s.turn <- struct{}{}
		runtime.Gosched() // goroutines that the last commit woke may add their lines
		s.shift()
		if err := s.commit(b); err != nil {
			b.end(err)
		}
		s.reuse(b.buf)
		close(b.written)
		<-s.turn
	}
	return b, at, end
}

// gathering is where lines wait while another batch is committed.
type gathering struct {
	mu    sync.Mutex // guards the fields below
	next  *batch
	spare []byte // the buffer of the last batch
}

// join adds lines to the batch that gathers. sync says that their caller waits until they
// are durable. at and end are their place in it. It returns no batch for no lines.
func (g *gathering) join(sync bool, lines [][]byte) (b *batch, at, end int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b = g.next
	at = int64(len(b.buf))
	for _, line := range lines {
		b.buf = append(b.buf, line...)
	}
	if end = int64(len(b.buf)); at == end {
		return nil, 0, 0
	}
	b.sync = b.sync || sync
	return b, at, end
}

// shift lets the next batch gather.
func (g *gathering) shift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next, g.spare = newBatch(g.spare[:0]), nil
}

// reuse keeps a buffer for a later batch, if it is not large.
func (g *gathering) reuse(buf []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if cap(buf) <= 1<<20 {
		g.spare = buf
	}
}

// published is the end of what readers may see.
type published struct {
	mu      sync.Mutex // guards the fields below
	durable Pos
	moved   chan struct{} // closed and replaced when durable moves
}

func (d *published) move(p Pos) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = p
	close(d.moved)
	d.moved = make(chan struct{})
}

// Durable returns the place before which all lines are on disk.
func (d *published) Durable() Pos {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable
}

// Changed returns a channel that is closed when Durable moves.
func (d *published) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.moved
}

// haste says that a stop is under way.
type haste struct {
	once    sync.Once
	hurried chan struct{} // closed by Hurry
}

// Hurry ends all waiting for Config.Sync, now and from now on: a stop does not wait for
// it. What Append returns for is durable all the same.
func (h *haste) Hurry() { h.once.Do(func() { close(h.hurried) }) }
