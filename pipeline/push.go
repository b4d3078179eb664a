// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// push is one line on its way to an outcome, and what its tries have come to.
type push struct {
	sample sample.Sample
	at     sample.At
	mark   ledger.Mark // no outcome from this line on is in the ledger before it
	lane   *lane

	file     *os.File // while in flight
	stat     watch.Stat
	sum      [32]byte
	part     *reading  // of a sample whose hash was interrupted
	torn     bool      // the file changed while it was hashed, or its writer had it open then
	restless bool      // its changes are put up with: see restless
	began    time.Time // of the first try

	tries  int
	alone  bool        // after a void session, and from the first failed try on
	sick   bool        // the last try, alone, found the scanner sick
	failed bool        // a try failed and is not counted yet
	local  bool        // it failed on our side: the tree's other samples prove it, not the scanner
	short  error       // this process or the machine is short of something
	own    bool        // it failed by what the file is, and needs no proof
	judged uint64      // the scanner's verdicts at that time, or the tree's samples that were read
	reason string      // of the last failed try
	held   string      // that reason, for others to see; the consumer's mu guards it
	tree   config.Tree // beneath which it was opened last
	busy   time.Time   // since when another program holds it; zero: none does
	due    time.Time
	pace   *backoff.ExponentialBackOff
}

// way is how an attempt to open and hash ended.
type way int

const (
	ready      way = iota // the file is open, hashed, and the version of its line
	settled               // there is an outcome already
	later                 // another's lease is on it, or reading failed: again later
	unfinished            // hashing was interrupted, it goes on where it was
)

// reading is how far the hash of a file has come.
type reading struct {
	hash hash.Hash
	read int64
	stat watch.Stat
}

var (
	errInterrupted = errors.New("reading is interrupted")
	errMoved       = errors.New("it is another version by now")
)

// opener opens samples beneath their trees.
type opener struct {
	trees   []config.Tree
	careful bool        // verdicts are remembered
	bufs    chan []byte // those that are free

	// The system's, but in tests.
	from  func(root, rel string) (*os.File, watch.Stat, error)
	taken func(error) bool
}

// tick is how long two changes of a file may have the same ctime: a tick of the
// system's coarse clock is 10 ms at most on Linux before 6.13, 16 on Windows.
const tick = 20 * time.Millisecond

func newOpener(trees []config.Tree) *opener {
	return &opener{trees: trees, from: watch.Open, taken: watch.Taken, bufs: make(chan []byte, sessionsAtOnce)}
}

// buffer returns what a file is read into. Each read is a system call that may cost
// a switch of threads: few and large ones.
func (o *opener) buffer() []byte {
	select {
	case b := <-o.bufs:
		return b
	default:
		return make([]byte, 2<<20)
	}
}

// spare keeps a buffer for the next file. Not all of those of slow sessions are
// kept, and the rest stay: memory neither grows with them nor comes and goes.
func (o *opener) spare(b []byte) {
	select {
	case o.bufs <- b:
	default:
	}
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

// open opens p's file, holds it against its line and hashes it. It fills out for
// settled, and p.reason for later. What takes long is unfinished as soon as
// enough says so, or ctx has ended.
func (o *opener) open(ctx context.Context, p *push, out *sample.Outcome, enough func() bool) way {
	s := p.sample
	skip := func(reason string) way {
		out.Outcome, out.Reason = sample.Skipped, reason
		return settled
	}
	path := filepath.Clean(s.Path)
	tree, ok := o.tree(path)
	if !ok || path != s.Path && !s.Bare() {
		return skip(sample.ReasonOutside)
	}
	p.tree, p.own = tree, false
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
		p.reason, p.local = sample.ReasonBusy, false
		return later
	case errors.Is(err, fs.ErrNotExist):
		out.Outcome = sample.Gone
		return settled
	case errors.As(err, &refused) && refused.Reason != "permission":
		return skip(refused.Reason)
	case err != nil:
		p.fault(err)
		return later
	}
	p.file, p.busy = f, time.Time{}
	if p.stat, err = o.ripe(ctx, f, st); err != nil {
		p.shut()
		p.fault(err)
		return later
	}
	st = p.stat
	out.Size = st.Size
	if changed(s, st) {
		p.shut()
		return skip(sample.ReasonChanged)
	}
	if tree.MaxSize > 0 && st.Size > tree.MaxSize {
		p.shut()
		return skip(sample.ReasonTooLarge)
	}
	if err := o.hash(ctx, p, enough); err != nil {
		// A file system whose sizes lie changes nothing: its file cannot be read.
		moved := errors.Is(err, errMoved) || errors.Is(err, io.ErrUnexpectedEOF) && p.moved()
		p.shut()
		if o.taken(err) {
			return p.judgedHere(out)
		}
		if moved {
			return skip(sample.ReasonChanged)
		}
		if errors.Is(err, errInterrupted) {
			return unfinished
		}
		p.fault(err)
		p.own = errors.Is(err, io.ErrUnexpectedEOF) // it was read as far as it goes
		return later
	}
	if !p.vague() {
		out.SHA256 = hex.EncodeToString(p.sum[:])
	}
	return ready
}

// judgedHere is the outcome of a sample that another anti-virus on this host took.
func (p *push) judgedHere(out *sample.Outcome) way {
	out.Outcome, out.Verdict, out.Signature, out.Tries = sample.Done, scan.Malicious, sample.HostAntivirus, p.tries+1
	return settled
}

// fault notes why the file cannot be opened or read. For want of descriptors or
// memory any file could not.
func (p *push) fault(err error) {
	p.reason, p.local = describe(sample.ReasonUnreadable, err), !store.Exhausted(err)
	p.short = nil
	if !p.local {
		p.short = err
	}
}

// ripe returns f's version, st, as it is when its ctime is older than a tick, so that
// whatever changes it from then on gives it another. Only where verdicts are
// remembered is that waited for.
func (o *opener) ripe(ctx context.Context, f *os.File, st watch.Stat) (watch.Stat, error) {
	young := time.Since(time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec)))
	if !o.careful || young < 0 || young >= tick {
		return st, nil
	}
	t := time.NewTimer(tick - young)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return watch.Fstat(f)
}

// changed reports whether st is another version than the line's. A bare path has
// none, and a file that never settled is pushed as found.
func changed(s sample.Sample, st watch.Stat) bool {
	return !s.Bare() && s.Via != sample.ViaLimit && (st.Size != s.Size || st.Mtime != s.Mtime)
}

// hash reads the file through ReadAt, so that the descriptor that may be passed
// on stands at 0. A sparse file of terabytes costs its owner nothing and us hours,
// so the hash can be interrupted after each read, always: it goes on where it was
// while the file is the same. One that is not is errMoved, or a bare path begun
// anew, which has no line of its own to come.
func (o *opener) hash(ctx context.Context, p *push, enough func() bool) error {
	r := p.part
	p.part = nil
	switch {
	case r == nil, p.sample.Bare() && !r.stat.Same(p.stat):
		// Who has it open now can write it through a memory map, and no time tells.
		r, p.torn = &reading{hash: sha256.New(), stat: p.stat}, watch.Writing(p.file)
	case r.stat.Same(p.stat):
	case p.borne():
		r.stat, p.torn = p.stat, true
	default:
		return errMoved
	}
	buf := o.buffer()
	defer o.spare(buf)
	for r.read < p.stat.Size {
		if ctx.Err() != nil || enough() {
			p.part = r
			return errInterrupted
		}
		n, err := p.file.ReadAt(buf[:min(int64(len(buf)), p.stat.Size-r.read)], r.read)
		r.hash.Write(buf[:n]) // it never fails
		r.read += int64(n)
		if errors.Is(err, io.EOF) && r.read < p.stat.Size {
			return fmt.Errorf("read sample: it ends at %d of %d bytes: %w", r.read, p.stat.Size, io.ErrUnexpectedEOF)
		}
		if err != nil && r.read < p.stat.Size {
			return fmt.Errorf("read sample: %w", err)
		}
	}
	r.hash.Sum(p.sum[:0])
	return nil
}

// borne reports whether p is pushed as found, whatever happens to it meanwhile.
func (p *push) borne() bool { return p.sample.Via == sample.ViaLimit || p.restless }

// vague reports whether what was hashed is perhaps not what the scanner is given.
// Of a file under its writer's hands no time tells all, for it may be written
// through a memory map.
func (p *push) vague() bool { return p.sample.Via == sample.ViaLimit || p.torn }

// moved reports whether the open file is another version now than when it was
// opened, also while the scanner held its descriptor. Whoever owns a file sets its
// size and its mtime as he likes; its ctime he does not.
func (p *push) moved() bool {
	st, err := watch.Fstat(p.file)
	return err != nil || !st.Same(p.stat)
}

// left reports whether the open file is as it was but for its ctime, and its path
// does not lead to it any more: it was deleted or renamed, which alone changes the
// ctime. It cannot be pushed again under this name.
func (p *push) left() bool {
	now, err := watch.Fstat(p.file)
	if err != nil || now.Size != p.stat.Size || now.Mtime != p.stat.Mtime {
		return false
	}
	there, err := watch.Lstat(p.sample.Path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && (there.Inode != now.Inode || there.Dev != now.Dev)
}

func (p *push) shut() {
	if p.file != nil {
		p.file.Close() // it was only read
		p.file = nil
	}
}

// judge turns an answer into p's outcome; false means that there is none yet. A
// bare path that changed has no line of its own to come: it is pushed again. Of
// what changed under the scanner's eyes nobody knows which bytes it saw: where a
// verdict stands all the same it has no SHA-256 and is not remembered.
func (p *push) judge(a scan.Answer, out *sample.Outcome) bool {
	if a.Err != nil && watch.Taken(a.Err) { // while the scanner was handed it
		p.judgedHere(out)
		return true
	}
	moved := p.moved()
	if moved && !p.borne() && !p.left() {
		if p.sample.Bare() {
			return false
		}
		out.Outcome, out.Reason, out.SHA256 = sample.Skipped, sample.ReasonChanged, ""
		return true
	}
	if moved || p.vague() {
		out.SHA256, p.sum = "", [32]byte{}
	}
	if a.Err != nil {
		return false
	}
	out.Outcome, out.Verdict, out.Signature, out.Reason = sample.Done, a.Verdict, a.Signature, a.Reason
	return true
}

// describe makes a reason of a word and an error: one line, bounded.
func describe(word string, err error) string {
	text := strings.TrimPrefix(err.Error(), word+": ")
	return word + ": " + text[:min(len(text), 200)]
}
