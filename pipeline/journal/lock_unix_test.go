// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestALinkInPlaceOfALockIsNotFollowed, and a pipe there does not hold us up.
func TestALinkInPlaceOfALockIsNotFollowed(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(out, lockPath(dir, "producer")); err != nil {
		t.Fatal(err)
	}
	if l, err := OS.TakeLock("producer", dir); err == nil {
		t.Error("a link is locked", l.Close())
	}
	if l, err := ToRead(OS).TakeLock("producer", dir); err == nil {
		t.Error("a link is locked to read", l.Close())
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("the link was followed")
	}
	if err := unix.Mkfifo(lockPath(dir, "consumer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(dir, "consumer"); held || err != nil {
		t.Errorf("held %t, %v", held, err)
	}
}

// TestADiskToReadMakesNothing, and sees who holds a lock.
func TestADiskToReadMakesNothing(t *testing.T) {
	dir := t.TempDir()
	d := ToRead(OS)
	l, err := d.TakeLock("producer", dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	f, err := d.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open("new", os.O_WRONLY|os.O_CREATE); !errors.Is(err, errReads) {
		t.Error(err)
	}
	if err := errors.Join(f.Rename("a", "b")); !errors.Is(err, errReads) {
		t.Error(err)
	}
	if err := f.Remove("a"); !errors.Is(err, errReads) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.OpenFolder(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder is made")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
	held, err := OS.TakeLock("producer", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := d.TakeLock("producer", dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a held lock is taken to read: %v", err)
	}
	if yes, err := Held(dir, "producer"); !yes || err != nil {
		t.Errorf("held %t, %v", yes, err)
	}
}
