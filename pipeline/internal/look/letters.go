// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// Letters counts the dead letters that are on the list now. Load reads those of the
// ledger once; Note keeps the count right after that, and meanwhile. Any goroutine may
// call its methods. The zero Letters is empty.
type Letters struct {
	mu     sync.Mutex              // guards the fields below
	open   map[letterKey]sample.At // the line that it is of
	newer  map[letterKey]bool      // what Note told since Load began; it counts more than what Load finds
	loaded bool
}

// Note takes an outcome that was recorded.
func (l *Letters) Note(o sample.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[letterKey]sample.At{}
	}
	if l.newer == nil && !l.loaded {
		l.newer = map[letterKey]bool{}
	}
	if l.loaded && o.Outcome != sample.Dead && len(l.open) == 0 {
		return
	}
	for _, key := range []letterKey{keyOf(o.Scanner, o.ID, o.Path), keyOf(o.Scanner, "", o.Path)} {
		delete(l.open, key)
		if !l.loaded {
			l.newer[key] = true
		}
	}
	if o.Outcome == sample.Dead {
		l.open[keyOf(o.Scanner, o.ID, o.Path)] = o.At
	}
}

// Load adds the dead letters that a has. Call it until it succeeds.
func (l *Letters) Load(ctx context.Context, a *Archive) error {
	l.mu.Lock()
	l.newer, l.loaded = map[letterKey]bool{}, false
	l.mu.Unlock()
	all, err := a.Dead(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[letterKey]sample.At{}
	}
	for _, d := range all {
		if key := keyOf(d.Outcome.Scanner, d.Outcome.ID, d.Outcome.Path); !l.newer[key] {
			l.open[key] = d.Outcome.At
		}
	}
	l.newer, l.loaded = nil, true
	return nil
}

// Open returns how many dead letters each scanner has.
func (l *Letters) Open() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int64{}
	for key := range l.open {
		n[key.scanner]++
	}
	return n
}

// Listed reports whether o, an outcome dead, is the one that keeps its sample on the list.
// Until Load has succeeded each counts as such, and so does one of the last minute: Note
// may not have been told of it.
func (l *Letters) Listed(o sample.Outcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, open := l.open[keyOf(o.Scanner, o.ID, o.Path)]
	return !l.loaded || time.Since(o.Time) < time.Minute || open && at == o.At
}
