// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/watch"
)

// image is a file system in a file, which can be mounted and unmounted.
type image struct {
	t         *testing.T
	file, dir string
}

func newImage(t *testing.T) *image {
	t.Helper()
	m := &image{t, filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "mounted")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(m.file, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-O", "^metadata_csum", m.file).CombinedOutput(); err != nil {
		t.Skipf("cannot make a file system: %v: %s", err, out)
	}
	m.mount()
	t.Cleanup(func() { _ = unix.Unmount(m.dir, unix.MNT_DETACH) })
	return m
}

func (m *image) mount() {
	m.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", m.file, m.dir).CombinedOutput(); err != nil {
		m.t.Skipf("cannot mount it: %v: %s", err, out)
	}
}

func (m *image) unmount() {
	m.t.Helper()
	if out, err := exec.Command("umount", m.dir).CombinedOutput(); err != nil {
		m.t.Fatalf("unmount: %v: %s", err, out)
	}
}

// alter writes other bytes over some in the image. No inode changes by that.
func (m *image) alter(old, other string) {
	m.t.Helper()
	raw, err := os.ReadFile(m.file)
	if err != nil {
		m.t.Fatal(err)
	}
	at := bytes.Index(raw, []byte(old))
	if at < 0 || len(old) != len(other) {
		m.t.Fatalf("%q is not in the image", old)
	}
	f, err := os.OpenFile(m.file, os.O_WRONLY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(other), int64(at)); err != nil {
		m.t.Fatal(err)
	}
}

// TestAnotherMediumWithTheSameVersions: a file system is mounted again, and has other
// bytes with the inode numbers and times of before. They are pushed, and nothing else is.
func TestAnotherMediumWithTheSameVersions(t *testing.T) {
	for _, below := range []bool{false, true} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("below=%t,stopped=%t", below, stopped), func(t *testing.T) {
				m := newImage(t)
				l := newLab(t)
				l.drop = m.dir
				l.c.Trees[0].Path = l.drop
				if below {
					l.c.Trees[0].Path = filepath.Dir(m.dir)
				}
				path := l.write("f", "good-bytes-of-the-medium")
				for i := range 20 {
					l.write(fmt.Sprint("other", i), fmt.Sprint("other ", i))
				}
				last := filepath.Join(l.drop, "other19")
				l.until("the grain to be over", func() bool { // until then the proof of a young file finds other bytes first
					st, err := watch.Lstat(last)
					must(t, err)
					return time.Since(time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec))) > time.Second/10
				})
				l.start()
				l.await(21)
				l.until("the sums to be noted", func() bool {
					proved := 0
					for _, o := range l.outcomes() {
						e, _, err := l.p.halves().producer.Index().Get(o.Path)
						must(t, err)
						if e.Bytes == index.Proved {
							proved++
						}
					}
					return proved == 21
				})
				l.halt()
				l.start()
				l.swept()
				if stopped {
					l.halt()
				}
				m.unmount()
				m.alter("good-bytes-of-the-medium", "evil-bytes-of-the-medium")
				m.mount()
				if stopped {
					l.start()
				}
				l.until("the other bytes", func() bool { return l.pushed(path, "evil-bytes-of-the-medium") })
				l.until("the end of the look", func() bool { return strings.Contains(l.logged(), "differ=1") })
				l.halt()
				l.start()
				l.swept()
				last = l.write("last", "last")
				l.until("the last file", func() bool { return l.pushed(last, "last") })
				if n := len(l.outcomes()); n != 23 && !(below && !stopped) {
					t.Errorf("%d outcomes of 22 files, one of them changed", n)
				}
			})
		}
	}
}
