// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// way is how an attempt to open and hash ended.
type way int

const (
	ready     way = iota // the file is open, hashed, and the version of its line
	concluded            // there is an outcome already
	held                 // another program has the file
	unread               // it could not be opened or read: trial.proof says what that needs to count
	parked               // hashing was interrupted; it goes on where it was
)

// opener opens samples beneath their trees.
type opener struct {
	trees   []config.Tree
	careful bool        // verdicts are remembered
	bufs    chan []byte // those that are free

	// The system's, but in tests.
	from   func(root, rel string) (*os.File, watch.Stat, error)
	taken  func(error) bool
	readAt func(f *os.File, b []byte, off int64) (int, error)
}

// tick is how long two changes of a file may have the same ctime: a tick of the
// system's coarse clock is 10 ms at most on Linux before 6.13, 16 on Windows.
const tick = 20 * time.Millisecond

func newOpener(trees []config.Tree, careful bool) *opener {
	return &opener{trees: trees, careful: careful, from: watch.Open, taken: watch.Taken, readAt: (*os.File).ReadAt, bufs: make(chan []byte, sessionsAtOnce)}
}

// tree returns the tree beneath which path is opened. Without any that is the root
// of the file system or the volume.
func (o *opener) tree(path string) (tree config.Tree, ok bool) {
	for _, t := range o.trees {
		if watch.Within(t.Path, path) && len(t.Path) > len(tree.Path) { // the deepest, as the watcher has it
			tree, ok = t, true
		}
	}
	if ok {
		return tree, true
	}
	if len(o.trees) > 0 || !filepath.IsAbs(path) {
		return config.Tree{}, false
	}
	root, ok := volume(path)
	return config.Tree{Path: root, SettleLimit: time.Hour}, ok
}

// open opens p's file, holds it against its line and hashes it. It fills out where
// the push is concluded. Hashing is interrupted as soon as enough says so, or ctx has
// ended.
func (o *opener) open(ctx context.Context, p *push, out *sample.Outcome, enough func() bool) way {
	s := p.sample
	skip := func(reason string) way {
		p.file.shut()
		out.Outcome, out.Reason = sample.Skipped, reason
		return concluded
	}
	path := filepath.Clean(s.Path)
	tree, ok := o.tree(path)
	if !ok || path != s.Path && !s.Bare() {
		return skip(sample.ReasonOutside)
	}
	p.file.tree = tree
	rel, err := filepath.Rel(tree.Path, path)
	if err != nil {
		return skip(sample.ReasonOutside)
	}
	f, st, err := o.from(tree.Path, rel)
	var refused *watch.Refusal
	switch {
	case o.taken(err):
		return p.judgedHere(out)
	case errors.Is(err, watch.ErrBusy):
		p.trial.setReason(sample.ReasonBusy)
		return held
	case errors.Is(err, fs.ErrNotExist):
		out.Outcome = sample.Gone
		return concluded
	case errors.As(err, &refused) && refused.Reason != "permission":
		return skip(refused.Reason)
	case err != nil:
		return p.unread(err)
	}
	p.file.f, p.trial.busy = f, time.Time{}
	if p.file.stat, err = o.ripe(ctx, f, st); err != nil {
		return p.unread(err)
	}
	out.Size = p.file.stat.Size
	switch {
	case changed(s, p.file.stat):
		return skip(sample.ReasonChanged)
	case tree.MaxSize > 0 && p.file.stat.Size > tree.MaxSize:
		return skip(sample.ReasonTooLarge)
	}
	if err := o.hash(ctx, p, enough); err != nil {
		// A file system whose sizes lie changes nothing: its file cannot be read.
		moved := errors.Is(err, errMoved) || errors.Is(err, io.ErrUnexpectedEOF) && p.file.moved()
		switch {
		case o.taken(err):
			p.file.shut()
			return p.judgedHere(out)
		case moved:
			return skip(sample.ReasonChanged)
		case errors.Is(err, errInterrupted):
			p.file.shut()
			return parked
		}
		return p.unread(err)
	}
	if !p.vague() {
		out.SHA256 = hex.EncodeToString(p.file.sum[:])
	}
	return ready
}

// judgedHere is the outcome of a sample that another anti-virus on this host took.
func (p *push) judgedHere(out *sample.Outcome) way {
	out.Outcome, out.Verdict, out.Signature, out.Tries = sample.Done, scan.Malicious, sample.HostAntivirus, p.trial.tries+1
	return concluded
}

// unread notes why the file cannot be opened or read, and closes it.
func (p *push) unread(err error) way {
	p.file.shut()
	p.trial.setReason(describe(sample.ReasonUnreadable, err))
	p.trial.short, p.trial.proof = nil, proof{by: theTree}
	switch {
	case store.Exhausted(err): // no file could be opened
		p.trial.short, p.trial.proof = err, proof{}
	case errors.Is(err, io.ErrUnexpectedEOF): // it was read as far as it goes
		p.trial.proof.by = theSample
	}
	return unread
}

// ripe returns f's version, st, as it is when its ctime is older than a tick, so that
// whatever changes it from then on gives it another. Only where verdicts are
// remembered is that waited for.
func (o *opener) ripe(ctx context.Context, f *os.File, st watch.Stat) (watch.Stat, error) {
	young := time.Since(time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec)))
	if !o.careful || young < 0 || young >= tick {
		return st, nil
	}
	wait(ctx, tick-young)
	return watch.Fstat(f)
}

// changed reports whether st is another version than the line's. A bare path has
// none, and a file that never settled is pushed as found.
func changed(s sample.Sample, st watch.Stat) bool {
	return !s.Bare() && s.Via != sample.ViaLimit && (st.Size != s.Size || st.Mtime != s.Mtime)
}

// describe makes a reason of a word and an error: one line, bounded.
func describe(word string, err error) string {
	text := strings.TrimPrefix(err.Error(), word+": ")
	return word + ": " + text[:min(len(text), 200)]
}
