// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// retraction remembers since when each canary was good at each address, over restarts,
// and takes verdicts back.
//
// Its file SCANNER.sight lies beside the cursors. Each line is the JSON of a witness.
type retraction struct {
	*books
	addresses []string                                        // of the scanner; empty if it has none that are told apart
	forget    func(ctx context.Context, address string) error // forgets the cleans of an address that are remembered

	working sync.Mutex // held while verdicts are taken back

	mu        sync.Mutex // guards the fields below
	witnesses []witness
	saved     []witness         // as they are on disk
	open      []store.TakenBack // what is taken back and not finished
}

// witness says that a canary was good at an address.
type witness struct {
	Address string      `json:"address"`
	Canary  scan.Canary `json:"canary"`
	Mark    string      `json:"mark"` // of the ledger: cleans behind it are not confirmed
	Seen    bool        `json:"seen"` // it was good when it was answered last
	Deep    int64       `json:"deep"` // of depth: the largest file, in bytes, into which the address was seen to look
	Lost    bool        `json:"lost"` // the canary was answered wrongly since, and the cleans are not taken back yet

	// What the address called clean could not be forgotten: the cache is removed before it is
	// opened again.
	Kept bool `json:"kept,omitempty"`
}

// KeptInCache reports whether the cache may hold cleans of a scanner that were taken back
// and could not be forgotten. cursors is the folder of the cursors.
func KeptInCache(cursors journal.Folder, scanner string) bool {
	all, err := loadWitnesses(cursors, scanner)
	return err == nil && slices.ContainsFunc(all, func(w witness) bool { return w.Kept })
}

func loadWitnesses(cursors journal.Folder, scanner string) (all []witness, err error) {
	text, err := journal.LoadText(cursors, scanner+store.SightSuffix)
	for line := range strings.Lines(text) {
		var w witness
		if json.Unmarshal([]byte(line), &w) == nil {
			all = append(all, w)
		}
	}
	return all, err
}

func newRetraction(b *books, c Config) (*retraction, error) {
	r := &retraction{books: b, forget: func(context.Context, string) error { return nil }}
	if c.Scanner.Remembers() {
		r.forget = c.Cache.Void
	}
	if addressed, is := c.Scan.(scan.Addressed); is {
		r.addresses = addressed.Addresses()
	}
	if saved, err := loadWitnesses(r.cursors, r.scanner); err == nil {
		r.saved = saved
		for _, w := range saved {
			w.Lost = w.Lost || !r.configured(w.Address)
			w.Kept = false // who opened the cache has removed it
			r.witnesses = append(r.witnesses, w)
		}
	}
	all, err := store.LoadTakenBack(r.cursors)
	for _, t := range all {
		if t.Scanner == r.scanner {
			r.open = append(r.open, t)
		}
	}
	return r, err
}

func (r *retraction) file() string { return r.scanner + store.SightSuffix }

// of returns the witness of a canary at an address. The caller holds mu.
func (r *retraction) of(address string, canary scan.Canary) *witness {
	for i := range r.witnesses {
		if w := &r.witnesses[i]; w.Address == address && w.Canary == canary {
			return w
		}
	}
	r.witnesses = append(r.witnesses, witness{Address: address, Canary: canary, Mark: ledger.Mark{}.String()})
	return &r.witnesses[len(r.witnesses)-1]
}

// save writes the witnesses. The caller holds mu.
func (r *retraction) save() error {
	var text []byte
	for _, w := range r.witnesses {
		line, err := json.Marshal(w)
		if err != nil {
			return fmt.Errorf("write sight: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	if err := journal.SaveText(r.cursors, r.file(), string(text)); err != nil {
		return err
	}
	r.saved = slices.Clone(r.witnesses)
	return nil
}

// keep writes the witnesses if those on disk are others: one could not be saved when it
// changed. That a canary was answered wrongly must be on record when the process ends, for
// after a restart the scanner may see again, and its good canary would confirm all that it
// said while it was blind.
func (r *retraction) keep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(r.witnesses, r.saved) {
		return nil
	}
	return r.save()
}

// needs returns the marks from which on the ledger must be kept: what an address called
// clean behind them may have to be taken back.
func (r *retraction) needs() (all []ledger.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range slices.Concat(r.saved, r.witnesses) {
		if w.Seen || w.Lost {
			all = append(all, ledger.ParseMark(w.Mark))
		}
	}
	return all
}

// saw implements memory.
func (r *retraction) saw(address string, canary scan.Canary, m ledger.Mark, deep int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.of(address, canary)
	if w.Lost || w.Seen && deep < w.Deep {
		return // these cleans are taken back first, or were said by what was not asked now
	}
	w.Mark, w.Seen, w.Deep = m.String(), true, deep
	if err := r.save(); err != nil {
		r.log.Debug("a good canary is not on record; after a crash more verdicts are taken back than need be", "address", address, "error", err)
	}
}

// mark implements memory.
func (r *retraction) mark() ledger.Mark { return r.led.End() }

// retract implements memory.
func (r *retraction) retract(ctx context.Context, address string, canary scan.Canary, deep int64, recorded func() error) (int, error) {
	if known, err := r.lose(address, canary, deep); !known || err != nil {
		return 0, err
	}
	// A crash here, until the end: the next start takes these verdicts back.
	if err := recorded(); err != nil {
		return 0, err
	}
	r.working.Lock()
	defer r.working.Unlock()
	r.mu.Lock()
	was := *r.of(address, canary)
	r.mu.Unlock()
	if !was.Lost {
		return 0, nil // somebody else took them back
	}
	kept := r.forget(ctx, address)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if kept != nil {
		r.log.Error("the cache of verdicts cannot forget what is taken back; it remembers nothing more, and is begun anew at the next start: look at its disk", "address", address, "error", kept)
	}
	end := r.led.End()
	lines, n, err := r.cleans(ctx, address, ledger.ParseMark(was.Mark))
	if err != nil {
		return 0, err
	}
	var taken store.TakenBack
	if n > 0 {
		if taken, err = store.TakeBack(r.cursors, r.scanner, time.Now(), lines); err != nil {
			return 0, err
		}
	}
	// A crash here: they are taken back twice.
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 {
		r.open = append(r.open, taken)
	}
	w := r.of(address, canary)
	w.Mark, w.Seen, w.Deep, w.Lost, w.Kept = end.String(), deep > 0, deep, false, w.Kept || kept != nil
	return n, r.save()
}

// lose puts on record that a canary is answered wrongly, and that what the address called
// clean since it was right does not hold. known is false if it was not seen before either:
// clean was said by what is known without it.
func (r *retraction) lose(address string, canary scan.Canary, deep int64) (known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.of(address, canary)
	if canary != scan.Plain && !w.Lost && (!w.Seen || canary == scan.Depth && deep >= w.Deep) {
		return false, nil
	}
	w.Lost = true
	return true, r.save()
}

// cleans returns the journal lines by which each sample is pushed once more that an
// address called clean since a mark, and how many these are. A file that has changed has
// no line: its present version has one of its own. One that cannot be looked at now, for
// example because its tree is away, has one without a time: it is pushed as found.
func (r *retraction) cleans(ctx context.Context, address string, since ledger.Mark) (lines []byte, n int, err error) {
	var seen map[string]bool
	begin := func() { lines, n, seen = nil, 0, map[string]bool{} }
	err = r.led.ReadAll(ctx, since, begin, func(scanner string, _ sample.At, text []byte) {
		if scanner != r.scanner {
			return
		}
		o, err := sample.ParseOutcome(text)
		if err != nil || o.Verdict != scan.Clean || o.Address != address || seen[o.Path] {
			return
		}
		s := sample.OfFile(o.Path, o.Size, watch.Time{})
		if st, err := watch.Lstat(o.Path); err == nil {
			s = sample.OfFile(o.Path, st.Size, st.Mtime)
			if st.Kind() != "" || o.ID != "" && s.ID != o.ID {
				return
			}
		}
		s.Seen, s.Via, s.For = time.Now(), sample.ViaManual, r.scanner
		lines = sample.AppendLine(lines, s)
		seen[o.Path] = true
		n++
	})
	return lines, n, err
}

// resume takes back what a crash left: it returns when that is done or ctx ends.
func (r *retraction) resume(ctx context.Context) {
	r.mu.Lock()
	lost := slices.DeleteFunc(slices.Clone(r.witnesses), func(w witness) bool { return !w.Lost })
	r.mu.Unlock()
	for _, w := range lost {
		for {
			_, err := r.retract(ctx, w.Address, w.Canary, 0, func() error { return nil }) // what was said before is there, or comes again
			if err == nil || !wait(ctx, recordAgain) {
				break
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.witnesses = slices.DeleteFunc(r.witnesses, func(w witness) bool { return !w.Lost && !r.configured(w.Address) })
}

// configured reports whether the scanner has an address now. What one that was taken out
// called clean since its last good canary nobody will confirm: it is taken back.
func (r *retraction) configured(address string) bool {
	return len(r.addresses) == 0 || slices.Contains(r.addresses, address)
}

// finish removes the word of what is taken back and has its outcomes: the cursor of the
// live lane, as it is on disk, has passed its lines.
func (r *retraction) finish(live journal.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) == 0 {
		return
	}
	all, err := store.LoadTakenBack(r.cursors)
	if err != nil {
		return // it is looked at again with the next cursor
	}
	r.open = slices.DeleteFunc(r.open, func(was store.TakenBack) bool {
		for _, t := range all {
			if t.Name == was.Name && (!t.Queued || live.Before(t.Until)) {
				return false
			}
		}
		if err := was.Forget(r.cursors); err != nil {
			return false
		}
		r.log.Info("verdicts that were taken back have been given again")
		return true
	})
}
