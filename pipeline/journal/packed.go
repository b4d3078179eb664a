// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
)

// packedEnd ends the name of a segment that another program compressed.
const packedEnd = ".gz"

// IsPacked reports whether name is that of a segment of base which another program, such
// as logrotate, rotated and compressed: BASE.2.gz, BASE-20261122.gz.
func IsPacked(base, name string) bool {
	plain, is := strings.CutSuffix(name, packedEnd)
	return is && IsRotated(base, plain)
}

// openSegment opens a segment to read.
func openSegment(d Folder, name string) (File, error) {
	f, err := d.Open(name, os.O_RDONLY)
	if err != nil || !strings.HasSuffix(name, packedEnd) {
		return f, err
	}
	return &packed{File: f, size: -1}, nil
}

const (
	packedStep = 32 << 10  // bytes that are unpacked at a time
	packedKept = 128 << 10 // bytes that stay in memory: a reader steps back a little now and then
)

// packed is the File of a segment that is compressed by gzip. Its places are those of the
// segment as it was before. Who reads it in order reads it once; who steps back further
// than what is kept begins it anew. Only one goroutine may use it.
type packed struct {
	File
	src  *tap
	z    *gzip.Reader // nil: it is to be begun
	end  bool         // all is unpacked, or what comes next cannot be
	bad  error        // why not
	kept []byte       // the bytes before at
	at   int64        // so many bytes are unpacked
	size int64        // bytes; -1: nobody knows yet
}

// tap remembers the error of a disk: gzip gives it back as it gives its own.
type tap struct {
	r   io.Reader
	err error
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

// ReadAt implements io.ReaderAt. What cannot be unpacked is the end.
func (p *packed) ReadAt(b []byte, off int64) (n int, err error) {
	if off < p.at-int64(len(p.kept)) {
		p.restart()
	}
	for n < len(b) {
		if from := off + int64(n); from < p.at {
			n += copy(b[n:], p.kept[int64(len(p.kept))-(p.at-from):])
			continue
		}
		if err := p.unpack(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (p *packed) restart() { p.z, p.end, p.bad, p.kept, p.at = nil, false, nil, p.kept[:0], 0 }

// unpack unpacks the next few bytes. It returns io.EOF at the end, and the error of a disk
// that cannot be read.
func (p *packed) unpack() (err error) {
	if p.end {
		return io.EOF
	}
	if p.z == nil {
		p.src = &tap{r: io.NewSectionReader(p.File, 0, math.MaxInt64)}
		p.z, err = gzip.NewReader(bufio.NewReaderSize(p.src, packedStep))
	}
	n := 0
	if err == nil {
		if p.kept == nil {
			p.kept = make([]byte, 0, packedKept)
		}
		if have := len(p.kept); have+packedStep > packedKept {
			p.kept = p.kept[:copy(p.kept, p.kept[have-packedKept/2:])]
		}
		have := len(p.kept)
		n, err = p.z.Read(p.kept[have : have+packedStep])
		p.kept, p.at = p.kept[:have+n], p.at+int64(n)
	}
	if err == nil {
		return nil
	}
	if p.src.err != nil {
		err = p.src.err
		p.restart()
		return fmt.Errorf("unpack: %w", err)
	}
	if !errors.Is(err, io.EOF) {
		p.bad = err
	} else if p.z == nil { // not even a header
		p.bad = io.ErrUnexpectedEOF
	}
	if p.end, p.size = true, p.at; n > 0 {
		return nil // the end comes once more
	}
	return io.EOF
}

// Stat implements File. To know its size it unpacks all of it once.
func (p *packed) Stat() (fs.FileInfo, error) {
	st, err := p.File.Stat()
	for err == nil && p.size < 0 {
		if err = p.unpack(); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return packedInfo{st, max(p.size, 0)}, err
}

// packedInfo is what is known of a packed.
type packedInfo struct {
	fs.FileInfo
	size int64
}

// Size implements fs.FileInfo.
func (i packedInfo) Size() int64 { return i.size }

// damage returns why a segment cannot be unpacked to its end, or nil. All that can be was
// read.
func damage(f File) error {
	if p, is := f.(*packed); is {
		return p.bad
	}
	return nil
}

// head is what is known of a file from its first line.
type head struct {
	id    string // identity of the file
	first string // the end of it that is of the first line
	whole bool   // there is a whole first line, or one that is too long
	h     header // of one of our segments
	ours  bool
}

// headOf reads the head of a file. Of one that is packed it is read once: there may be very
// many. Its identity has its size and mtime too, which do not change any more: the system
// may give the number of a deleted file to the next.
func (c *catalog) headOf(name string) (head, error) {
	f, err := openSegment(c.d, name)
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	return c.headIn(f, name)
}

// headIn is headOf for a file that is open.
func (c *catalog) headIn(f File, name string) (head, error) {
	id, err := f.ID()
	if err != nil {
		return head{}, fmt.Errorf("identify segment %s: %w", name, err)
	}
	p, is := f.(*packed)
	if is {
		st, err := p.File.Stat()
		if err != nil {
			return head{}, fmt.Errorf("stat segment %s: %w", name, err)
		}
		id = fmt.Sprintf("gz-%s-%d-%d", id, st.Size(), st.ModTime().UnixNano())
		if known, is := c.packed[id]; is {
			return known, nil
		}
	}
	line, whole, err := firstLine(f, name)
	if err != nil {
		return head{}, err
	}
	h := head{id: identity(id, line), whole: whole || len(line) >= MaxLine}
	h.first = h.id[strings.LastIndexByte(h.id, '-'):]
	if is {
		c.packed[id] = h
	} else {
		h.h, h.ours = parseHeader(line)
	}
	return h, nil
}

// adoptPacked gives each of names, oldest first, that is compressed the number of the
// segment that it was: one with the same first line, whose file is not there any more.
// learned reports that it gave one.
func (c *catalog) adoptPacked(names []string) (learned bool, err error) {
	heads := make([]head, len(names))
	strange := map[string]bool{} // how those begin that have no number
	for i, name := range names {
		if !IsPacked(c.base, name) && !IsRotated(c.base, name) && name != c.base {
			continue
		}
		if heads[i], err = c.headOf(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // rotated once more since the listing
			return false, err
		}
		if IsPacked(c.base, name) && heads[i].whole && !c.knows(heads[i].id) {
			strange[heads[i].first] = true
		}
	}
	if len(strange) == 0 {
		return false, nil
	}
	there, err := c.identities()
	if err != nil {
		return false, err
	}
	for n := len(c.known) - 1; n >= 0; n-- {
		k := &c.known[n]
		first := k.id[strings.LastIndexByte(k.id, '-')+1:]
		if k.base != c.base || !strange["-"+first] || there[k.id] {
			continue
		}
		i, err := c.wasOnce(*k, "-"+first, names, heads)
		if err != nil {
			return learned, err
		}
		if i >= 0 {
			k.id, learned = heads[i].id, !c.silent
			there[k.id] = true
		}
	}
	return learned, nil
}

// wasOnce returns which of names the segment k is now, whose first line is first, or -1. It
// has its place among the numbers of the others. Where several could be it, it is the
// newest that was last written before its number was given, or if there is none the
// oldest. If that is wrong lines are read twice, and none is passed over.
func (c *catalog) wasOnce(k foreign, first string, names []string, heads []head) (int, error) {
	from, to := 0, len(names)
	for i, h := range heads {
		at := slices.IndexFunc(c.known, func(k foreign) bool { return k.base == c.base && k.id == h.id })
		switch {
		case at < 0:
		case c.known[at].number < k.number:
			from = i + 1
		case to == len(names):
			to = i
		}
	}
	given, err := c.d.Lstat(foreignFile)
	if err != nil {
		return -1, fmt.Errorf("look at known segments: %w", err)
	}
	best := -1
	for i := from; i < to; i++ {
		if heads[i].first != first || !IsPacked(c.base, names[i]) {
			continue
		}
		st, err := c.d.Lstat(names[i])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("stat segment %s: %w", names[i], err)
		}
		if best < 0 || st.ModTime().Before(given.ModTime()) {
			best = i
		}
	}
	return best, nil
}

// identities returns those of all files that are or were segments of another program.
func (c *catalog) identities() (map[string]bool, error) {
	entries, err := c.d.List()
	if err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	all := map[string]bool{}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() != c.base && !IsRotated(c.base, e.Name()) && !IsPacked(c.base, e.Name()) && !IsSealed(c.base, e.Name()) {
			continue
		}
		h, err := c.headOf(e.Name())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all[h.id] = true
	}
	return all, nil
}
