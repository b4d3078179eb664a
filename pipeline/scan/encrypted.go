// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	headBytes = 4 << 10  // so much of a file's head is looked at for magics
	tailBytes = 66 << 10 // a zip's end record is in so much of its tail
	maxMember = 100_000  // members of a zip; one with more counts as encrypted
)

// MayBeEncrypted reports whether the bytes of r, size of them, may hold something
// encrypted. It tells containers by their bytes, never by a name, and unpacks nothing:
//
//	zip, OOXML   a member is encrypted or may hold a container, or the central directory
//	             cannot be read whole; also behind another head, as in a self-extractor
//	pdf          /Encrypt is in its bytes
//	OLE          a stream EncryptedPackage, or a mark of Word, Excel or PowerPoint
//	7z, rar      always: their lists of members may be encrypted too
//	others       always: gzip, bzip2, xz, zstd, tar, cab, disc images and mails may hold
//	             an archive that is encrypted
//
// In doubt, and if r cannot be read, it returns true.
func MayBeEncrypted(r io.ReaderAt, size int64) bool {
	head := make([]byte, min(size, headBytes))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("7z\xbc\xaf\x27\x1c"), has("Rar!\x1a\x07"), has("RE\x7e\x5e"), has("\x60\xea"), bytes.Contains(head[:min(len(head), 64)], []byte("**ACE**")):
		return true
	case has("\x1f\x8b"), has("BZh"), has("\xfd7zXZ\x00"), has("\x28\xb5\x2f\xfd"), has("MSCF"), has("ISc("), len(head) > 262 && string(head[257:262]) == "ustar":
		return true // an archive that is not encrypted itself, and may hold one that is
	case bytes.Contains(head, []byte("MIME-Version:")), bytes.Contains(head, []byte("\nContent-Transfer-Encoding:")), discImage(r, size):
		return true
	case has("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
		return oleEncrypted(r, size)
	case bytes.Contains(head, []byte("%PDF-")):
		if contains(r, size, [][]byte{[]byte("/Encrypt")}) {
			return true
		}
	}
	if has("PK\x03\x04") || has("PK\x05\x06") || has("PK\x07\x08") || zipEnds(r, size) {
		return zipMayBe(r, size)
	}
	// A self-extractor has its archive behind a program.
	return has("MZ") && (bytes.Contains(head, []byte("Rar!\x1a\x07")) || contains(r, size, [][]byte{[]byte("Rar!\x1a\x07"), []byte("7z\xbc\xaf\x27\x1c")}))
}

// discImage reports whether r is an image of a disc by ISO 9660, or cannot be read.
func discImage(r io.ReaderAt, size int64) bool {
	const at = 32769
	if size < at+5 {
		return false
	}
	mark := make([]byte, 5)
	_, err := r.ReadAt(mark, at)
	return err != nil || string(mark) == "CD001"
}

// zipEnds reports whether a zip's end record is in the tail of r, or the tail cannot be
// read.
func zipEnds(r io.ReaderAt, size int64) bool {
	tail := make([]byte, min(size, tailBytes))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	return bytes.Contains(tail, []byte("PK\x05\x06"))
}

// maxDirectory is how many bytes of a zip are read to tell its members. One that needs
// more counts as encrypted: 100,000 members take less, and a hostile one memory.
const maxDirectory = 16 << 20

// bounded reads at most so many bytes of r.
type bounded struct {
	r    io.ReaderAt
	left int
}

func (b *bounded) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the directory is too large")
	}
	return b.r.ReadAt(p, off)
}

func zipMayBe(r io.ReaderAt, size int64) bool {
	r = &bounded{r, maxDirectory}
	z, err := zip.NewReader(r, size)
	if err != nil || len(z.File) > maxMember {
		return true
	}
	return slices.ContainsFunc(z.File, func(f *zip.File) bool {
		const encrypted, strong, masked = 1 << 0, 1 << 6, 1 << 13
		return f.Flags&(encrypted|strong|masked) != 0 || f.Method == 99 || nested(r, f)
	})
}

// containers are the ends of names of members that may hold something encrypted.
var containers = []string{
	".zip", ".7z", ".rar", ".jar", ".apk", ".arj", ".ace", ".exe", ".scr", ".dll", ".pdf",
	".doc", ".docx", ".docm", ".dot", ".dotx", ".xls", ".xlsx", ".xlsm", ".xlsb", ".ppt", ".pptx", ".pptm",
	".odt", ".ods", ".odp", ".msg", ".eml", ".iso", ".img", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".cab", ".001",
}

// nested reports whether a member may be a container: by its name, or if it is stored by
// its first bytes.
func nested(r io.ReaderAt, f *zip.File) bool {
	if slices.Contains(containers, strings.ToLower(path.Ext(strings.TrimRight(f.Name, " .")))) {
		return true
	}
	if f.Method != zip.Store || f.UncompressedSize64 < 8 {
		return false
	}
	at, err := f.DataOffset()
	head := make([]byte, 8)
	if err == nil {
		_, err = r.ReadAt(head, at)
	}
	if err != nil {
		return true
	}
	for _, magic := range []string{"PK", "7z\xbc\xaf", "Rar!", "\xd0\xcf\x11\xe0", "%PDF", "\x1f\x8b", "MZ"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

// oleNames are streams that an encrypted OLE file has.
var oleNames = names("EncryptedPackage", "EncryptionInfo", "EncryptedSummary", "CryptSession10Container")

// oleEncrypted reports whether an OLE file has a mark of encryption, or r cannot be
// read: the name of a stream; Word's FIB with the bit fEncrypted; Excel's record FILEPASS
// behind BOF. All of them begin at a multiple of 64 bytes.
func oleEncrypted(r io.ReaderAt, size int64) bool {
	buf := make([]byte, 256<<10)
	for at := int64(0); at < size; at += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), size-at)]
		if n, err := r.ReadAt(part, at); n < len(part) && err != nil {
			return true
		}
		for unit := range slices.Chunk(part, 64) {
			if marked(unit) {
				return true
			}
		}
	}
	return false
}

func marked(unit []byte) bool {
	if len(unit) < 64 {
		return false
	}
	for _, name := range oleNames {
		if bytes.HasPrefix(unit, name) {
			return true
		}
	}
	const encrypted = 1 // fEncrypted, in the byte at 0x0b of a FIB
	if bytes.HasPrefix(unit, []byte("\xec\xa5")) && unit[0x0b]&encrypted != 0 {
		return true
	}
	bof := bytes.HasPrefix(unit, []byte("\x09\x08\x10\x00\x00\x06"))
	record := bytes.TrimPrefix(unit[20:], []byte("\x86\x00\x00\x00")) // WRITEPROT may stand ahead of it
	return bof && bytes.HasPrefix(record, []byte("\x2f\x00"))
}

// names returns texts in UTF-16, as a directory of OLE holds them.
func names(all ...string) (out [][]byte) {
	for _, name := range all {
		var b []byte
		for _, c := range utf16.Encode([]rune(name)) {
			b = append(b, byte(c), byte(c>>8))
		}
		out = append(out, b)
	}
	return out
}

// contains reports whether one of the marks, which are shorter than 64 bytes, is in the
// bytes of r, or r cannot be read.
func contains(r io.ReaderAt, size int64, marks [][]byte) bool {
	const overlap = 64
	buf := make([]byte, 256<<10)
	for at := int64(0); at < size; at += int64(len(buf)) - overlap {
		part := buf[:min(int64(len(buf)), size-at)]
		if n, err := r.ReadAt(part, at); n < len(part) && err != nil {
			return true
		}
		for _, m := range marks {
			if bytes.Contains(part, m) {
				return true
			}
		}
	}
	return false
}
