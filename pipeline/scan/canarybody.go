// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// body is the content of a canary: a few bytes, and zeros between them.
type body struct {
	parts []part // in order; they do not overlap
	size  int64  // bytes
}

type part struct {
	at   int64
	text []byte
}

// textBody returns the body that is text.
func textBody(text []byte) body { return body{[]part{{0, text}}, int64(len(text))} }

// ReadAt implements io.ReaderAt.
func (b body) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), b.size-off))
	clear(p[:n])
	for _, t := range b.parts {
		if from := t.at - off; from >= 0 && from < int64(n) {
			copy(p[from:n], t.text)
		} else if from < 0 && -from < int64(len(t.text)) {
			copy(p[:n], t.text[-from:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements io.Writer: it appends. Zeros in a row of at least 4 KiB take no room.
func (b *body) Write(p []byte) (int, error) {
	if len(p) < 4<<10 || len(bytes.Trim(p, "\x00")) > 0 {
		b.parts = append(b.parts, part{b.size, bytes.Clone(p)})
	}
	b.size += int64(len(p))
	return len(p), nil
}

func sumOf(b body) (sum [32]byte, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(b, 0, b.size)); err != nil {
		return sum, fmt.Errorf("hash canary: %w", err)
	}
	h.Sum(sum[:0])
	return sum, nil
}

// padded returns the test file with zeros behind it, size bytes in all.
func (c Canaries) padded(size int64) (body, error) {
	test := c.test()
	if int64(len(test)) > size {
		return body{}, fmt.Errorf("pad test file: it has over %d bytes: %w", size, ErrUnaskable)
	}
	last := []byte(rand.Text()) // other bytes each time
	b := body{[]part{{0, test}}, size}
	if at := size - int64(len(last)); at > int64(len(test)) {
		b.parts = append(b.parts, part{at, last})
	}
	return b, nil
}

// deepZip returns a zip of size bytes with a stored member that fills it, and then the
// test file.
func (c Canaries) deepZip(size int64) (body, error) {
	empty, err := zipOf(c.test(), &filler{})
	if err != nil {
		return body{}, err
	}
	f := &filler{size: size - int64(len(empty))}
	if f.size < 0 {
		return body{}, fmt.Errorf("pack test file: the zip has over %d bytes: %w", size, ErrUnaskable)
	}
	rand.Read(f.head[:])
	var b body
	if err := writeZip(&b, c.test(), f); err != nil {
		return body{}, err
	}
	return b, nil
}

// filler is a member of a zip: a few random bytes and then zeros.
type filler struct {
	head [16]byte
	size int64
}

func (f *filler) body() body {
	n := min(int64(len(f.head)), f.size)
	return body{[]part{{0, f.head[:n]}}, f.size}
}

// zipOf returns a zip with the test file, and ahead of it a filler or a harmless text.
func zipOf(test []byte, f *filler) ([]byte, error) {
	var b bytes.Buffer
	err := writeZip(&b, test, f)
	return b.Bytes(), err
}

func writeZip(to io.Writer, test []byte, f *filler) error {
	z := zip.NewWriter(to)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	first := textBody(harmless())
	if f != nil {
		first = f.body()
	}
	content := io.NewSectionReader(first, 0, first.size)
	sum := crc32.NewIEEE()
	_, err := io.Copy(sum, content)
	if err != nil {
		return fmt.Errorf("make zip: %w", err)
	}
	w, err := z.CreateRaw(&zip.FileHeader{Name: "a.txt", Method: zip.Store, CRC32: sum.Sum32(), CompressedSize64: uint64(first.size), UncompressedSize64: uint64(first.size)})
	if err == nil {
		_, err = io.Copy(w, io.NewSectionReader(first, 0, first.size))
	}
	if err != nil {
		return fmt.Errorf("make zip: %w", err)
	}
	if w, err = z.Create("b.com"); err == nil {
		_, err = w.Write(test)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("make zip: %w", err)
	}
	return nil
}

// encryptedZip returns a zip in which the test file is encrypted as PKWARE's APPNOTE 6.1
// says, with a password that nobody knows.
func encryptedZip(test []byte) ([]byte, error) {
	var packed, out bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err == nil {
		_, err = w.Write(test)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("make encrypted zip: %w", err)
	}
	sum := crc32.ChecksumIEEE(test)
	plain := make([]byte, 12, 12+packed.Len())
	rand.Read(plain)
	plain[11] = byte(sum >> 24) // by this byte a reader checks the password
	secret := encrypt(append(plain, packed.Bytes()...), []byte(rand.Text()))
	z := zip.NewWriter(&out)
	to, err := z.CreateRaw(&zip.FileHeader{
		Name: "b.com", Method: zip.Deflate, Flags: 1, CRC32: sum,
		CompressedSize64: uint64(len(secret)), UncompressedSize64: uint64(len(test)),
	})
	if err == nil {
		_, err = to.Write(secret)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("make encrypted zip: %w", err)
	}
	return out.Bytes(), nil
}

// encrypt returns plain, encrypted by the stream cipher of APPNOTE 6.1.5.
func encrypt(plain, password []byte) []byte {
	keys := [3]uint32{0x12345678, 0x23456789, 0x34567890}
	update := func(c byte) {
		keys[0] = crc32.IEEETable[byte(keys[0])^c] ^ keys[0]>>8
		keys[1] = (keys[1]+keys[0]&0xff)*134775813 + 1
		keys[2] = crc32.IEEETable[byte(keys[2])^byte(keys[1]>>24)] ^ keys[2]>>8
	}
	for _, c := range password {
		update(c)
	}
	secret := make([]byte, len(plain))
	for i, c := range plain {
		t := uint16(keys[2] | 2)
		secret[i] = c ^ byte(uint32(t)*uint32(t^1)>>8)
		update(c)
	}
	return secret
}
