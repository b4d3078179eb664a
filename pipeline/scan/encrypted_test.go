// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
)

// zipWith returns a zip with one member, made by flags.
func zipWith(t *testing.T, name string, flags uint16, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Store, Flags: flags, CompressedSize64: uint64(len(text)), UncompressedSize64: uint64(len(text))})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMayBeEncrypted(t *testing.T) {
	utf16 := func(text string) string { return string(names(text)[0]) }
	ole := func(at int, mark string) string {
		b := append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 4096)...)
		copy(b[at:], mark)
		return string(b)
	}
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write([]byte("text")); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	iso := make([]byte, 40000)
	copy(iso[32769:], "CD001")
	secret, err := encryptedZip(eicar())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"empty": {"", false}, "text": {"harmless", false}, "elf": {"\x7fELF" + strings.Repeat("x", 9000), false}, "program": {"MZ" + strings.Repeat("x", 90000), false},
		"zip": {zipWith(t, "a.txt", 0, "harmless"), false}, "document": {zipWith(t, "word/document.xml", 0, "<xml>"), false},
		"encrypted zip": {zipWith(t, "a.txt", 1, "harmless"), true}, "the canary": {string(secret), true},
		"strong": {zipWith(t, "a.txt", 1<<6, "harmless"), true}, "masked directory": {zipWith(t, "a.txt", 1<<13, "harmless"), true},
		"zip in a zip": {zipWith(t, "a.ZIP", 0, "harmless"), true}, "by its bytes": {zipWith(t, "a.txt", 0, "PK\x03\x04harmless"), true},
		"half a zip":     {zipWith(t, "a.txt", 0, strings.Repeat("harmless", 100))[:500], true},
		"self-extractor": {"MZ" + strings.Repeat("x", 5000) + zipWith(t, "a.txt", 1, "harmless"), true},
		"rar":            {"Rar!\x1a\x07\x00harmless", true}, "7z": {"7z\xbc\xaf\x27\x1charmless", true}, "rar behind a program": {"MZ" + strings.Repeat("x", 400_000) + "Rar!\x1a\x07", true},
		"pdf": {"%PDF-1.4\ntrailer <<>>", false}, "encrypted pdf": {"%PDF-1.4\n" + strings.Repeat(" ", 300_000) + "/Encrypt 1 0 R", true},
		"ole": {ole(0, ""), false}, "encrypted package": {ole(1024, utf16("EncryptedPackage")), true},
		"word": {ole(512, "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x01"), true}, "plain word": {ole(512, "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x00"), false},
		"excel": {ole(512, "\x09\x08\x10\x00\x00\x06\x05\x00............\x2f\x00\x36\x00"), true}, "protected excel": {ole(512, "\x09\x08\x10\x00\x00\x06\x05\x00............\x86\x00\x00\x00\x2f\x00\x36\x00"), true},
		"gzip": {gz.String(), true}, "tar": {string(tar), true}, "disc": {string(iso), true}, "cab": {"MSCF\x00\x00", true}, "mail": {"From: a\nMIME-Version: 1.0\n", true},
	} {
		if got := MayBeEncrypted(strings.NewReader(c.text), int64(len(c.text))); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	// A directory that would take much memory counts as encrypted, and is not read.
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 300_000 {
		if _, err := z.CreateRaw(&zip.FileHeader{Name: fmt.Sprint(i, strings.Repeat("x", 40))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if !MayBeEncrypted(bytes.NewReader(b.Bytes()), int64(b.Len())) {
		t.Error("a directory of many members is not encrypted")
	}
}

// TestCanariesAreNotWhatTheyHold: a signature that finds EICAR at any offset does not find
// it in the packed canaries, so only a scanner that unpacks them does.
func TestCanariesAreNotWhatTheyHold(t *testing.T) {
	for range 100 {
		packed, err := zipOf(eicar(), nil)
		secret, err2 := encryptedZip(eicar())
		if err != nil || err2 != nil || bytes.Contains(packed, eicar()) || bytes.Contains(secret, eicar()) {
			t.Fatalf("%v %v", err, err2)
		}
	}
	for _, size := range []int64{Small, 1 << 20, 25 << 20} {
		for _, form := range []func(int64) (body, error){Canaries{}.padded, Canaries{}.deepZip} {
			b, err := form(size)
			if err != nil || b.size != size {
				t.Errorf("%d: %d, %v", size, b.size, err)
			}
		}
	}
}
