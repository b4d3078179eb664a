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

	"github.com/prometheus/client_golang/prometheus"

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
	held                 // another program holds the file
	unread               // the file could not be opened or read; trial.proof says which proof this try needs
	parked               // the hash was interrupted, and goes on from there
	unasked              // its verdict needs a canary that was not asked yet
)

// opener opens samples beneath their trees.
type opener struct {
	trees    []config.Tree
	copyAll  bool // copy each sample whatever its size: its verdict is remembered, or it was asked for
	passes   bool // the scanner is handed open files, so copies are made to be passed
	copies   *Copies
	uncopied prometheus.Counter // samples that should have been copied, and were not
	bufs     chan []byte        // free buffers

	// The functions of the system; tests set them.
	from   func(in *roots, root, rel string) (*os.File, watch.Stat, error)
	taken  func(error) bool
	readAt func(f *os.File, b []byte, off int64) (int, error)
}

func newOpener(trees []config.Tree, copyAll, passes bool, copies *Copies, uncopied prometheus.Counter) *opener {
	return &opener{trees: trees, copyAll: copyAll, passes: passes, copies: copies, uncopied: uncopied, from: (*roots).open, taken: watch.Taken, readAt: (*os.File).ReadAt, bufs: make(chan []byte, sessionsAtOnce)}
}

// roots holds the root of each tree of which a session opened a sample, so that the next
// sample of the session costs fewer calls. One session has it alone, and ends it: after
// that another folder may have taken the place of a root.
type roots struct{ held map[string]*watch.Root }

func newRoots() *roots { return &roots{map[string]*watch.Root{}} }

// open is watch.Open.
func (r *roots) open(root, rel string) (*os.File, watch.Stat, error) {
	at := r.held[root]
	if at == nil {
		var err error
		if at, err = watch.OpenRoot(root); err != nil {
			return nil, watch.Stat{}, err
		}
		r.held[root] = at
	}
	return at.Open(rel)
}

func (r *roots) end() {
	for _, at := range r.held {
		at.Close()
	}
}

// tree returns the tree beneath which path is opened: the deepest one that holds it. If
// no trees are configured, that is the root of path's file system or volume. ok is false
// if path may not be opened.
func (o *opener) tree(path string) (tree config.Tree, ok bool) {
	for _, t := range o.trees {
		if watch.Within(t.Path, path) && len(t.Path) > len(tree.Path) { // the deepest, as the watcher does
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
	return config.Tree{Path: root, SettleLimit: config.DefaultSettleLimit}, ok
}

// resolved returns path with the name of its tree as it is configured, where the links in
// both lead to the same folder; otherwise it returns path. The file is opened beneath the
// tree all the same.
func (o *opener) resolved(path string) string {
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	for _, t := range o.trees {
		root, err := filepath.EvalSymlinks(t.Path)
		if err != nil || !watch.Within(root, folder) {
			continue
		}
		if rel, err := filepath.Rel(root, folder); err == nil {
			return filepath.Join(t.Path, rel, filepath.Base(path))
		}
	}
	return path
}

// open opens p's file for a session, which has in, compares it with its line and hashes
// it. If it returns concluded,
// out has the outcome; if it returns ready, the file stays open. It returns parked if ctx
// ended or enough returned true during the hash.
func (o *opener) open(ctx context.Context, in *roots, p *push, out *sample.Outcome, enough func() bool) way {
	s := p.sample
	skip := func(reason string) way {
		p.file.shut()
		out.Outcome, out.Reason = sample.Skipped, reason
		return concluded
	}
	path := filepath.Clean(s.Path)
	tree, ok := o.tree(path)
	if !ok && s.Bare() { // it may name its tree in another way, for links lead to it
		path = o.resolved(path)
		tree, ok = o.tree(path)
	}
	if !ok || path != s.Path && !s.Bare() {
		return skip(sample.ReasonOutside)
	}
	p.file.tree = tree
	rel, err := filepath.Rel(tree.Path, path)
	if err != nil {
		return skip(sample.ReasonOutside)
	}
	f, st, err := o.from(in, tree.Path, rel)
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
	p.file.stat = st
	out.Size = p.file.stat.Size
	switch {
	case changed(s, p.file.stat) && !p.file.asFound:
		return skip(sample.ReasonChanged)
	case tree.MaxSize > 0 && p.file.stat.Size > tree.MaxSize:
		return skip(sample.ReasonTooLarge)
	}
	if err := o.hash(ctx, p, enough); err != nil {
		// A file that ends before its size has changed, or its file system gives a wrong
		// size. In the second case it cannot be read.
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

// judgedHere sets the outcome of a sample that another anti-virus on this host took:
// malicious.
func (p *push) judgedHere(out *sample.Outcome) way {
	out.Outcome, out.Verdict, out.Signature, out.Tries = sample.Done, scan.Malicious, sample.HostAntivirus, p.trial.tries+1
	return concluded
}

// unread closes the file, and notes why it cannot be opened or read and which proof this
// try needs.
func (p *push) unread(err error) way {
	p.file.shut()
	p.trial.setReason(describe(sample.ReasonUnreadable, err))
	p.trial.short, p.trial.proof = nil, proof{by: theTree}
	switch {
	case store.Exhausted(err): // no other file could be opened either
		p.trial.short, p.trial.proof = err, proof{}
	case errors.Is(err, io.ErrUnexpectedEOF): // the file was read to its end, before its size
		p.trial.proof.by = theSample
	}
	return unread
}

// changed reports whether st is another version than the line's. It is never so for a
// bare path, which has no version, for a line of a verdict that was taken back while its
// file could not be looked at, nor for a file that never settled: they are pushed as found.
func changed(s sample.Sample, st watch.Stat) bool {
	if s.Via == sample.ViaManual && s.Mtime == (watch.Time{}) {
		return false
	}
	return !s.Bare() && s.Via != sample.ViaLimit && (st.Size != s.Size || st.Mtime != s.Mtime)
}

// describe returns a reason: word, and at most 200 bytes of err's text.
func describe(word string, err error) string {
	text := strings.TrimPrefix(err.Error(), word+": ")
	return word + ": " + text[:min(len(text), 200)]
}
