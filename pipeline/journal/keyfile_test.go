// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

const (
	aSegment = "monitor.log.20261122-1200.log"
	itsKeys  = "monitor.log.20261122-1200.keys"
)

// words is a journal.KeysOf: each word of a line is a key.
func words(line []byte, add func(key []byte)) {
	for w := range bytes.FieldsSeq(line) {
		add(w)
	}
}

// sealedOf writes one sealed segment of lines.
func sealedOf(t testing.TB, lines []string) (*disktest.Disk, journal.Folder) {
	t.Helper()
	d := disktest.New()
	dir := folderOn(t, d)
	putFile(t, dir, aSegment, []byte(strings.Join(lines, "\n")+"\n"))
	return d, dir
}

func folderOn(t testing.TB, d *disktest.Disk) journal.Folder {
	t.Helper()
	dir, err := d.OpenFolder("/journal")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func putFile(t testing.TB, dir journal.Folder, name string, text []byte) {
	t.Helper()
	f, err := dir.Open(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err == nil {
		_, err = f.Write(text)
	}
	if err = errors.Join(err, f.Sync(), dir.Sync()); err != nil {
		t.Fatal(err)
	}
}

// byKeys returns the lines that FindKeys finds, the last first.
func byKeys(t testing.TB, dir journal.Folder, limit int, keys ...string) (lines []string, ok bool) {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, []byte(k))
	}
	ok, err := journal.FindKeys(t.Context(), dir, aSegment, all, func(_ int64, line []byte) bool {
		lines = append(lines, string(line))
		return len(lines) < limit
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, ok
}

// TestKeysTellOfEveryLine: for any key FindKeys finds all lines that hold it, and hardly
// any other, however the keys are spread.
func TestKeysTellOfEveryLine(t *testing.T) {
	t.Parallel()
	spread := map[string]func(i int) string{
		"each its own":   func(i int) string { return fmt.Sprint("key-", i) },
		"few in many":    func(i int) string { return fmt.Sprint("key-", i%7) },
		"one in all":     func(int) string { return "key-0" },
		"one in a block": func(i int) string { return fmt.Sprint("key-", i/511) },
	}
	for name, of := range spread {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			with := map[string][]string{}
			for i := range 20_000 {
				key := of(i)
				line := fmt.Sprintf("%d %s", i, key)
				lines = append(lines, line)
				with[key] = append(with[key], line)
			}
			_, dir := sealedOf(t, lines)
			if err := journal.SaveKeys(t.Context(), dir, aSegment, words); err != nil {
				t.Fatal(err)
			}
			strange := 0
			for i := range min(300, 4*len(with)) {
				key := of(rand.IntN(20_000))
				if i == 0 {
					key = of(0)
				}
				told, ok := byKeys(t, dir, 1<<30, key)
				slices.Reverse(told)
				if !ok {
					t.Fatal("the keys are not trusted")
				}
				own := slices.DeleteFunc(slices.Clone(told), func(l string) bool { return !slices.Contains(strings.Fields(l), key) })
				strange += len(told) - len(own)
				if !slices.Equal(own, with[key]) {
					t.Fatalf("%s: %d lines are told of %d", key, len(own), len(with[key]))
				}
				if told, ok := byKeys(t, dir, 1<<30, fmt.Sprint("none-", i)); !ok || len(told) > 1 {
					t.Fatalf("of a key that is in no line: %q %v", told, ok)
				}
			}
			if strange > 3 {
				t.Errorf("%d lines are told for nothing", strange)
			}
			if told, _ := byKeys(t, dir, 1, of(0), "19999"); len(told) != 1 || told[0] != lines[19_999] {
				t.Errorf("the last one of two keys is %q", told)
			}
		})
	}
}

// TestKeysThatCannotBeTrusted are not used: the segment is read whole.
func TestKeysThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprint("key-", i))
	}
	d, dir := sealedOf(t, lines)
	if _, ok := byKeys(t, dir, 1, "key-1"); ok {
		t.Error("there are none")
	}
	save := func() []byte {
		if err := journal.SaveKeys(t.Context(), dir, aSegment, words); err != nil {
			t.Fatal(err)
		}
		text, err := journal.LoadText(dir, itsKeys)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text)
	}
	whole := save()
	for i := 0; i < len(whole); i += 97 {
		hurt := slices.Clone(whole)
		hurt[i] ^= 1 << (i % 8)
		putFile(t, dir, itsKeys, hurt)
		for k := i % 100; k < 3000; k += 100 {
			if told, ok := byKeys(t, dir, 9, fmt.Sprint("key-", k)); ok && !slices.Contains(told, lines[k]) {
				t.Fatalf("byte %d is another one, and line %d is not found", i, k)
			}
		}
	}
	for size := 0; size < len(whole); size += 1000 {
		putFile(t, dir, itsKeys, whole[:size])
		for k := 0; k < 3000; k += 10 {
			if told, ok := byKeys(t, dir, 9, fmt.Sprint("key-", k)); ok && !slices.Contains(told, lines[k]) {
				t.Fatalf("%d bytes are left, and line %d is not found", size, k)
			}
		}
	}
	putFile(t, dir, itsKeys, whole)
	if _, ok := byKeys(t, dir, 1, "key-1"); !ok {
		t.Fatal("whole ones are not trusted")
	}
	// The segment changed after its keys were written.
	putFile(t, dir, aSegment, []byte(strings.Join(lines, "\n")+"\nmore\n"))
	if _, ok := byKeys(t, dir, 1, "key-1"); ok {
		t.Error("keys of another size are trusted")
	}
	save()
	lines[7] = "yek-7"
	putFile(t, dir, aSegment, []byte(strings.Join(lines, "\n")+"\nmore\n"))
	if _, ok := byKeys(t, dir, 1, "key-1"); ok {
		t.Error("keys of another time are trusted")
	}
	// A folder lies in their place.
	if err := dir.Remove(itsKeys); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OpenFolder("/journal/" + itsKeys); err != nil {
		t.Fatal(err)
	}
	if _, ok := byKeys(t, dir, 1, "key-1"); ok {
		t.Error("a folder is trusted")
	}
	if err := dir.Remove(aSegment); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.FindKeys(t.Context(), dir, aSegment, [][]byte{[]byte("key-1")}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a segment that is gone: %v", err)
	}
}

// TestKeysAfterAnyCut: after a power cut or an error at any operation the keys are whole,
// or there are none.
func TestKeysAfterAnyCut(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 9000 {
		lines = append(lines, fmt.Sprint("key-", i))
	}
	for _, broken := range []error{syscall.EIO, disktest.Applied{Err: syscall.EIO}} {
		for n, more := 1, true; more; n++ {
			d, dir := sealedOf(t, lines)
			var left *disktest.Disk
			at := 0
			d.Before = func(disktest.Op) error {
				if at++; at != n {
					return nil
				}
				left = d.Cut(50)
				return broken
			}
			err := journal.SaveKeys(t.Context(), dir, aSegment, words)
			d.Before = nil
			if more = at >= n; more && err == nil {
				t.Errorf("operation %d failed, and nobody said so", n)
			}
			for _, d := range []*disktest.Disk{d, left} {
				if d == nil {
					continue
				}
				for _, k := range []int{0, 4500, 8999} {
					if told, ok := byKeys(t, folderOn(t, d), 9, fmt.Sprint("key-", k)); ok && !slices.Contains(told, lines[k]) {
						t.Errorf("operation %d: line %d is not found", n, k)
					}
				}
			}
		}
	}
}

// TestKeysAreKept: sealed segments get keys, and get them again if they are damaged. If a
// segment is pruned its keys go too. Small segments get none, nor do any without room.
func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := disktest.New()
		dir := folderOn(t, d)
		big := []byte(strings.Repeat("some words\n", journal.KeysFrom/10))
		name := func(i int, end string) string { return fmt.Sprintf("monitor.log.20261122-12%02d%s", i, end) }
		for i := range 3 {
			putFile(t, dir, name(i, ".log"), big)
		}
		putFile(t, dir, name(3, ".log"), []byte("some words\n"))
		putFile(t, dir, "backlog.log.20261122-1200.log", big)
		putFile(t, dir, "monitor.log", big)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- journal.KeepKeys(ctx, dir, []string{"monitor.log", "backlog.log"}, words, 1<<20, quiet)
		}()
		after := func(what string, want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			entries, err := dir.List()
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, e := range entries {
				if strings.Contains(e.Name(), ".keys") {
					have = append(have, e.Name())
				}
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("%s: %q, want %q", what, have, want)
			}
		}
		after("at first", name(0, ".keys"), name(1, ".keys"), name(2, ".keys"), "backlog.log.20261122-1200.keys")
		if err := dir.Remove(name(0, ".log")); err != nil {
			t.Fatal(err)
		}
		putFile(t, dir, name(0, ".keys.new"), big) // a write that failed may leave one
		after("after a prune", name(1, ".keys"), name(2, ".keys"), "backlog.log.20261122-1200.keys")
		d.SetFree(1)
		putFile(t, dir, name(4, ".log"), big)
		after("without room", name(1, ".keys"), name(2, ".keys"), "backlog.log.20261122-1200.keys")
		d.SetFree(1 << 40)
		after("with room", name(1, ".keys"), name(2, ".keys"), name(4, ".keys"), "backlog.log.20261122-1200.keys")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// FuzzKeys: whatever bytes are in a file of keys, FindKeys returns only lines.
func FuzzKeys(f *testing.F) {
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprint("key-", i))
	}
	_, dir := sealedOf(f, lines)
	if err := journal.SaveKeys(f.Context(), dir, aSegment, words); err != nil {
		f.Fatal(err)
	}
	text, err := journal.LoadText(dir, itsKeys)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text), "key-1")
	f.Fuzz(func(t *testing.T, text []byte, key string) {
		_, dir := sealedOf(t, lines)
		st, err := dir.Lstat(aSegment)
		if err != nil {
			t.Fatal(err)
		}
		// Damage it as somebody would that knows the format.
		text = slices.Clone(text)
		for b := range slices.Chunk(text, 4096) {
			if len(b) == 4096 {
				binary.LittleEndian.PutUint32(b[4092:], crc32.Checksum(b[:4092], crc32.MakeTable(crc32.Castagnoli)))
			}
		}
		if len(text) >= 24 {
			binary.LittleEndian.PutUint64(text[16:], uint64(st.ModTime().UnixNano()))
		}
		putFile(t, dir, itsKeys, text)
		told, _ := byKeys(t, dir, 1<<30, key)
		for _, line := range told {
			if !slices.Contains(lines, line) {
				t.Fatalf("%q is no line", line)
			}
		}
	})
}
