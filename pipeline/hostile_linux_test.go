// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// unprinted returns the characters of text that a terminal, a log or a page would act
// on.
func unprinted(text []byte) string {
	if !utf8.Valid(text) {
		return "bytes that are no UTF-8"
	}
	for line := range bytes.Lines(text) {
		for _, r := range string(bytes.TrimSuffix(line, []byte{'\n'})) {
			if !unicode.IsPrint(r) {
				return fmt.Sprintf("%U", r)
			}
		}
	}
	return ""
}

// TestEveryByteOfANameSurvives from the tree to the journal and the ledger, in names of
// files and folders. None is unescaped there, in the status, or in a label of a metric.
func TestEveryByteOfANameSurvives(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) { c.Registry, c.Scanners = metrics, []config.Scanner{{Type: "hashlist", Workers: 16}} })
	var paths []string
	add := func(names ...string) { paths = append(paths, l.write(filepath.Join(names...), eicar())) }
	var every []byte
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		every = append(every, byte(b))
		add("f" + string([]byte{byte(b)}))
		add(string([]byte{'d', byte(b)}), "f")
	}
	// The last quarter is dropped while the pipeline runs.
	late := every[192:]
	add(string(every[:127]), string(every[127:192]))
	add("\u202e\u2066\u2028\U000e0001\ufeff", strings.Repeat("\xf0\x9f", 127)+"\n")
	l.start()
	l.swept()
	add(string(late), string(every[:192]))
	slices.Sort(paths)
	l.await(len(paths))
	status, err := json.Marshal(l.p.Status())
	must(t, err)
	l.halt()

	lines := append(l.lines("backlog"), l.lines("live")...)
	var journaled, recorded []string
	ids := map[string]string{}
	for _, s := range lines {
		journaled, ids[s.Path] = append(journaled, s.Path), s.ID
	}
	for _, m := range l.ledgerLines() {
		path, _ := m["path"].(string)
		if raw, ok := m["path_b64"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(raw)
			must(t, err)
			path = string(b)
		}
		recorded = append(recorded, path)
		if m["id"] != ids[path] || m["outcome"] != sample.Done {
			t.Errorf("%q: %v, want id %s", path, m, ids[path])
		}
	}
	slices.Sort(journaled)
	slices.Sort(recorded)
	if !slices.Equal(journaled, paths) {
		t.Errorf("journal: %q\nwant %q", journaled, paths)
	}
	if !slices.Equal(recorded, paths) {
		t.Errorf("ledger: %q\nwant %q", recorded, paths)
	}
	places := map[string][]byte{"status": status} // the service guards the log
	for _, glob := range []string{"journal/*.log*", "ledger/verdicts.log*"} {
		names, err := filepath.Glob(filepath.Join(l.c.State, glob))
		must(t, err)
		for _, name := range names {
			if places[name], err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	families, err := metrics.Gather()
	must(t, err)
	for _, f := range families {
		places["metrics"] = append(places["metrics"], f.String()...)
	}
	for name, text := range places {
		if bad := unprinted(text); bad != "" || len(text) == 0 {
			t.Errorf("%s, %d bytes, holds %s", name, len(text), bad)
		}
	}
	if n := strings.Count(l.logged(), "msg=malicious"); n != len(paths) {
		t.Errorf("%d warnings of %d", n, len(paths))
	}
}

// TestNothingButFilesIsOpened: links, FIFOs, sockets and devices delay nothing, are
// counted, and lead nowhere.
func TestNothingButFilesIsOpened(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) { c.Registry = metrics })
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	must(t, os.WriteFile(canary, []byte("of somebody else"), 0o600))
	opened := opens(t, outside)
	put := func(dir string) {
		dir = filepath.Join(l.drop, dir)
		must(t, os.MkdirAll(dir, 0o755))
		for name, to := range map[string]string{
			"file": canary, "folder": outside, "up": "../..", "loop": "loop", "self": ".", "dangling": "/nowhere", "near": "good", "proc": "/proc/self/fd/0",
		} {
			must(t, os.Symlink(to, filepath.Join(dir, name)))
		}
		must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
		must(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o666, 0))
		if os.Getuid() == 0 {
			must(t, unix.Mknod(filepath.Join(dir, "zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
			must(t, unix.Mknod(filepath.Join(dir, "block"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))))
		}
		must(t, os.WriteFile(filepath.Join(dir, "good"), []byte(dir), 0o600))
	}
	put("before")
	l.start()
	l.judged(filepath.Join(l.drop, "before", "good"))
	put("after")
	l.judged(filepath.Join(l.drop, "after", "good"))
	want := map[string]float64{"symlink": 16, "fifo": 2, "socket": 2}
	if os.Getuid() == 0 {
		want["device"] = 4
	}
	l.until("all are counted", func() bool {
		have := sums(t, metrics)
		for reason, n := range want {
			// An event and the listing of a new folder may both count the same one.
			if have["certpush_files_skipped_total "+reason] < n {
				return false
			}
		}
		return true
	})
	l.halt()
	if n := len(l.outcomes()); n != 2 {
		t.Errorf("%d outcomes: %+v", n, l.outcomes())
	}
	if n := opened(); n != 0 {
		t.Errorf("what lies outside was opened %d times", n)
	}
}

// opens returns a function that returns how often a file in dir was opened or read
// since then.
func opens(t *testing.T, dir string) func() int {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_ACCESS)
	must(t, err)
	return func() int {
		buf := make([]byte, 64<<10)
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return 0
		}
		must(t, err)
		return n / unix.SizeofInotifyEvent
	}
}

// TestFolderSwappedForALink: a folder is swapped with a link to a folder outside 20,000
// times (100,000 in a soak), while files with the same names are dropped. No file
// outside is ever opened, and no file of the tree is missed.
func TestFolderSwappedForALink(t *testing.T) {
	t.Parallel()
	swaps := full(20_000, 100_000)
	const names = 200
	d := scantest.Start(t, "unix")
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Sight, s.Workers = -1, 4 }))
	outside := t.TempDir()
	canary := []byte("of somebody else")
	for i := range names {
		must(t, os.WriteFile(filepath.Join(outside, fmt.Sprint(i)), canary, 0o600))
	}
	folder, link := filepath.Join(l.drop, "a"), filepath.Join(l.drop, "b")
	must(t, os.Mkdir(folder, 0o755))
	must(t, os.Symlink(outside, link))
	dir, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(dir)
	l.start()
	l.swept()
	var both sync.WaitGroup
	swapped := make(chan struct{})
	both.Go(func() {
		defer close(swapped)
		for range swaps {
			if err := unix.Renameat2(unix.AT_FDCWD, folder, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	both.Go(func() {
		for i := 0; ; i++ {
			fd, err := unix.Openat(dir, fmt.Sprint(i%names), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600)
			if err == nil {
				_, err = unix.Write(fd, fmt.Appendf(nil, "version %d", i))
				unix.Close(fd)
			}
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-swapped:
				if i >= names {
					return
				}
			default:
			}
		}
	})
	both.Wait()
	at := folder
	if st, err := os.Lstat(folder); err != nil || !st.IsDir() {
		at = link
	}
	last := map[[32]byte]string{}
	for i := range names {
		text, err := os.ReadFile(filepath.Join(at, fmt.Sprint(i)))
		must(t, err)
		last[sha256.Sum256(text)] = string(text)
	}
	begun, seen := time.Now(), 0
	l.until("the last version of each", func() bool {
		for _, r := range d.Received()[seen:] {
			delete(last, r.SHA256)
			seen++
		}
		return len(last) == 0
	})
	t.Logf("%d pushed, the last %v after the last swap", seen, time.Since(begun))
	l.halt()
	if n := d.Count(canary); n != 0 {
		t.Errorf("a file of outside was pushed %d times", n)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(canary))
	for _, o := range l.outcomes() {
		if o.SHA256 == sum || strings.HasPrefix(o.Path, outside) {
			t.Errorf("%+v", o)
		}
	}
}

// TestSparseTerabytes: a sparse file of 8 TiB costs its owner nothing. With a limit it
// is refused at once. Without one it is hashed for hours, but neither other samples nor
// a stop wait for it.
func TestSparseTerabytes(t *testing.T) {
	t.Parallel()
	const size = 8 << 40
	sparse := func(t *testing.T, l *lab, name string) string {
		path := l.write(name, "")
		if err := os.Truncate(path, size); err != nil {
			t.Skipf("this file system holds no file of 8 TiB: %v", err)
		}
		return path
	}
	t.Run("limit", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, func(c *Config) { c.Trees[0].MaxSize = 1 << 30 })
		path := sparse(t, l, "before")
		l.start()
		l.judged(path)
		l.judged(sparse(t, l, "after"))
		for _, o := range l.await(2) {
			if o.Outcome != sample.Skipped || o.Reason != sample.ReasonTooLarge || o.Size != size || o.Took > 30*time.Second {
				t.Errorf("%+v", o)
			}
		}
	})
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint("no limit, workers ", workers), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, func(c *Config) { c.Scanners = []config.Scanner{{Type: "hashlist", Workers: workers}} })
			var large []string
			for i := range 3 {
				large = append(large, sparse(t, l, fmt.Sprint("large", i)))
			}
			l.start()
			l.until("they are journaled", func() bool { return len(l.lines("backlog")) == len(large) })
			for turn := range 3 {
				var small []string
				for i := range 20 {
					small = append(small, l.write(fmt.Sprint("small", turn, i), "x"))
				}
				l.judged(small...)
			}
			if s := l.p.Status().Scanners[0]; s.Waiting != 3 || s.Done != 60 {
				t.Errorf("%+v", s)
			}
			begun := time.Now()
			l.halt()
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("the stop took %v", took)
			}
		})
	}
}

// TestTouchedWhileItIsHashed: the owner of a large file changes its mode again and
// again. Other samples still get their turns, and only one of the file's lines waits,
// not all.
func TestTouchedWhileItIsHashed(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *Config) { c.Scanners = []config.Scanner{{Type: "hashlist", Workers: 1}} })
	path := l.write("large", "")
	if err := os.Truncate(path, 8<<40); err != nil {
		t.Skipf("this file system holds no file of 8 TiB: %v", err)
	}
	l.start()
	l.swept()
	for turn := range 12 {
		must(t, os.Chmod(path, 0o600|os.FileMode(turn%2)<<5))
		l.judged(l.write(fmt.Sprint("small", turn), "x"))
	}
	l.until("one line of it that waits", func() bool { return l.p.Status().Scanners[0].Waiting == 1 })
	for _, o := range outcomesOf(l.outcomes(), path) {
		if o.Outcome != sample.Skipped || o.Reason != sample.ReasonChanged {
			t.Errorf("%+v", o)
		}
	}
	if n := len(l.lines("live")) + len(l.lines("backlog")); n > 1+2*12+1 {
		t.Errorf("%d lines for a file that was touched 12 times, and 12 others", n)
	}
}
