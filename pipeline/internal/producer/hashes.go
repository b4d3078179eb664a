// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// unnoted is how long an outcome waits until its line is in the index. A line that is not
// there by then is a manual one.
const unnoted = time.Second

// hashes reads the outcomes in the ledger, in their order, and notes their hashes in the
// index, with the place up to which it has come. A crash: it goes on from the place that
// the index has, so the two fit each other.
type hashes struct {
	*proofs
	at   string           // the place up to which the ledger was read
	held []sample.Outcome // read, and not noted yet
}

// all notes the outcomes that are there. late says that the line of one is not in the
// index yet.
func (h *hashes) all(ctx context.Context) (late bool, err error) {
	if h.at == "" {
		h.at = h.index.Outcomes()
	}
	floor := map[string]journal.Pos{}
	for _, lane := range sample.Lanes {
		if at, err := h.cursors(lane); err == nil { // otherwise a scanner has not begun
			floor[lane] = at
		}
	}
	for ctx.Err() == nil {
		if len(h.held) == 0 {
			after, err := h.outcomes(h.at, takeAtOnce, func(text []byte) {
				if o, err := sample.ParseOutcome(text); err == nil {
					h.held = append(h.held, o)
				}
			})
			if err != nil {
				h.held = nil
				return false, err
			}
			if after == h.at {
				h.floor = floor
				return false, nil
			}
			h.at = after
		}
		if late, err := h.some(ctx); late || err != nil {
			return late, err
		}
	}
	return false, nil
}

// some notes the outcomes in h.held. late says that it must wait for the line of one.
func (h *hashes) some(ctx context.Context) (late bool, err error) {
	noted := h.index.Noted()
	of := map[string][]sample.Outcome{}
	for _, o := range h.held {
		if !o.At.Pos.Before(noted[o.At.Lane]) && time.Since(o.Time) < unnoted {
			return true, nil
		}
		if o.At != (sample.At{}) {
			of[o.Path] = append(of[o.Path], o)
		}
	}
	if err := h.note(ctx, of, h.at); err != nil {
		return false, err
	}
	h.held = nil
	return false, nil
}

// note writes what outcomes say of the bytes into the entries of their lines.
func (h *hashes) note(ctx context.Context, of map[string][]sample.Outcome, upto string) error {
	paths := make([]string, 0, len(of))
	for path := range of {
		paths = append(paths, path)
	}
	var afresh []string
	open := map[string]time.Time{} // when to prove it
	if err := h.index.Amend(ctx, paths, upto, func(path string, e index.Entry) (index.Entry, bool) {
		was := e
		for _, o := range of[path] {
			if e.At == o.At {
				e = amended(e, o)
			}
		}
		if e.Bytes == index.Afresh && was.Bytes != index.Afresh {
			afresh = append(afresh, path)
		}
		if e.Bytes == index.Hashed || e.Bytes == index.Unhashed {
			open[path] = time.Now().Add(grainOf(e.Stat.Ctime))
		}
		return e, e != was
	}); err != nil {
		return err
	}
	for _, path := range afresh {
		h.watcher.Again(path)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for path, due := range open {
		if h.waiting[path] && h.asked[path] == nil {
			h.asked[path] = &question{due: due}
		}
	}
	for _, path := range paths {
		delete(h.waiting, path)
	}
	return nil
}

// amended returns e with what an outcome of its line says of the bytes.
func amended(e index.Entry, o sample.Outcome) index.Entry {
	sum, hashed := [32]byte{}, false
	if b, err := hex.DecodeString(o.SHA256); err == nil && len(b) == len(sum) {
		hashed = copy(sum[:], b) == len(sum)
	}
	early := young(e.Stat, o.Time.Add(-o.Took)) // it was opened within the grain
	switch {
	case e.Bytes == index.Plain && hashed, e.Bytes == index.Young && hashed && !early:
		e.Bytes, e.Sum = index.Proved, sum
	case e.Bytes == index.Young && hashed:
		e.Bytes, e.Sum = index.Hashed, sum
	case e.Bytes == index.Young && early:
		e.Bytes = index.Unhashed
	case e.Bytes == index.Young:
		e.Bytes = index.Plain // without a hash, and opened so late that it got the last bytes
	case e.Bytes == index.Hashed && early && sum != e.Sum:
		e.Bytes = index.Unhashed
	case e.Bytes == index.Proved && early && sum != e.Sum: // another scanner got other bytes
		e.Bytes = index.Afresh
	}
	return e
}
