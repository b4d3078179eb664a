// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func pack(t *testing.T, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts { // each a member of its own
		z := gzip.NewWriter(&b)
		_, err := z.Write(p)
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func unpacked(t *testing.T, text []byte) *packed {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "monitor.log.1.gz"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openSegment(folderOf(t, dir), "monitor.log.1.gz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.(*packed)
}

func longText() (text []byte) {
	for i := range 40_000 {
		text = fmt.Appendf(text, "/srv/%d/%d\n", i, rand.Uint64())
	}
	return text
}

// TestPackedIsReadAsWhatItWas, at any place, forwards and backwards.
func TestPackedIsReadAsWhatItWas(t *testing.T) {
	text := longText()
	cut := len(text) / 3
	p := unpacked(t, pack(t, text[:cut], text[cut:]))
	at := 0
	for range 300 {
		switch rand.IntN(8) {
		case 0:
			at = rand.IntN(len(text) + 1000)
		case 1:
			at = max(0, at-rand.IntN(8<<10))
		}
		b := make([]byte, rand.IntN(100<<10))
		n, err := p.ReadAt(b, int64(at))
		want := text[min(at, len(text)):min(at+len(b), len(text))]
		if !bytes.Equal(b[:n], want) || (n < len(b)) != errors.Is(err, io.EOF) || n == len(b) && err != nil {
			t.Fatalf("at %d: %d of %d bytes, want %d: %v", at, n, len(b), len(want), err)
		}
		if cap(p.kept) > packedKept {
			t.Fatalf("%d bytes in memory", cap(p.kept))
		}
		at += n
	}
	if st, err := p.Stat(); err != nil || st.Size() != int64(len(text)) || damage(p) != nil {
		t.Errorf("%v %v", st.Size(), err)
	}
}

// TestPackedThatIsDamaged ends where it cannot be unpacked any more, at the same place each
// time, and says why. What lies before that is read.
func TestPackedThatIsDamaged(t *testing.T) {
	text := longText()
	whole := pack(t, text)
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 0xff
	wrong := slices.Clone(whole)
	wrong[len(wrong)-6] ^= 1
	for what, c := range map[string]struct {
		text       []byte
		least, max int
		bad        error // nil: some
	}{
		"cut off":            {whole[:len(whole)/2], len(text) / 3, len(text), io.ErrUnexpectedEOF},
		"a byte is wrong":    {flipped, len(text) / 3, 2 * len(text), nil},
		"a wrong checksum":   {wrong, len(text), len(text), gzip.ErrChecksum},
		"nothing":            {nil, 0, 0, io.ErrUnexpectedEOF},
		"half a header":      {whole[:5], 0, 0, io.ErrUnexpectedEOF},
		"no gzip":            {text, 0, 0, gzip.ErrHeader},
		"garbage behind all": {append(slices.Clone(whole), "garbage, garbage"...), len(text), len(text), gzip.ErrHeader},
	} {
		p := unpacked(t, c.text)
		st, err := p.Stat()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2*len(text)+1)
		n, err := p.ReadAt(got, 0)
		if !errors.Is(err, io.EOF) || int64(n) != st.Size() || n < c.least || n > c.max || what != "a byte is wrong" && !bytes.Equal(got[:n], text[:n]) {
			t.Errorf("%s: %d of %d bytes, its size is %d, %v", what, n, len(text), st.Size(), err)
		}
		if bad := damage(p); bad == nil || c.bad != nil && !errors.Is(bad, c.bad) {
			t.Errorf("%s: %v", what, bad)
		}
	}
}

// sickFile fails to be read.
type sickFile struct {
	File
	sick bool
}

func (s *sickFile) ReadAt(p []byte, off int64) (int, error) {
	if s.sick && off > 0 {
		return 0, syscall.EIO
	}
	return s.File.ReadAt(p, off)
}

// TestADiskThatCannotBeReadIsNoDamage of what is compressed on it.
func TestADiskThatCannotBeReadIsNoDamage(t *testing.T) {
	text := longText()
	p := unpacked(t, pack(t, text))
	sick := &sickFile{p.File, true}
	p.File = sick
	got := make([]byte, len(text))
	if _, err := p.ReadAt(got, 0); !errors.Is(err, syscall.EIO) || damage(p) != nil {
		t.Errorf("%v, %v", err, damage(p))
	}
	if _, err := p.Stat(); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	sick.sick = false
	if n, err := p.ReadAt(got, 0); n != len(text) || err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d %v", n, err)
	}
}
