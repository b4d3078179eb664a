// SPDX-License-Identifier: Apache-2.0

package journal

import "runtime"

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
	s.mu.Lock()
	b = s.next
	lead := len(b.buf) == 0
	at = int64(len(b.buf))
	for _, line := range lines {
		b.buf = append(b.buf, line...)
	}
	end = int64(len(b.buf))
	if at == end {
		s.mu.Unlock()
		return nil, 0, 0
	}
	b.sync = b.sync || sync
	s.mu.Unlock()
	if lead {
		s.turn <- struct{}{}
		runtime.Gosched() // goroutines that the last commit woke may add their lines
		s.mu.Lock()
		s.next = newBatch(s.spare[:0])
		s.spare = nil
		s.mu.Unlock()
		if err := s.commit(b); err != nil {
			b.end(err)
		}
		s.mu.Lock()
		if cap(b.buf) <= 1<<20 {
			s.spare = b.buf
		}
		s.mu.Unlock()
		close(b.written)
		<-s.turn
	}
	return b, at, end
}
