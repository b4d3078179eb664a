// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
)

// foreignLab is a consumer of a log that the test writes.
type foreignLab struct {
	*lab
	log string
	n   int
}

func newForeignLab(t *testing.T) *foreignLab {
	l := newLab(t)
	l.c.Half, l.c.Journal.Dir = config.ConsumerOnly, t.TempDir()
	return &foreignLab{lab: l, log: filepath.Join(l.c.Journal.Dir, "monitor.log")}
}

// logs writes n files and appends their paths to the log.
func (l *foreignLab) logs(n int) (paths []string) {
	l.t.Helper()
	for range n {
		l.n++
		paths = append(paths, l.write(fmt.Sprintf("file%04d", l.n), "x"))
	}
	l.appends(strings.Join(paths, "\n") + "\n")
	return paths
}

func (l *foreignLab) appends(text string) {
	l.t.Helper()
	f, err := os.OpenFile(l.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(l.t, err)
	_, err = f.WriteString(text)
	must(l.t, err)
	must(l.t, f.Close())
}

// renamed rotates the log by names, as logrotate does.
func (l *foreignLab) renamed(to string) {
	l.t.Helper()
	must(l.t, os.Rename(l.log, l.log+to))
}

// copied rotates the log by copytruncate.
func (l *foreignLab) copied(to string) {
	l.t.Helper()
	from, err := os.Open(l.log)
	must(l.t, err)
	defer from.Close()
	f, err := os.Create(l.log + to)
	must(l.t, err)
	_, err = io.Copy(f, from)
	must(l.t, err)
	must(l.t, f.Close())
	must(l.t, os.Truncate(l.log, 0))
}

// packed compresses what was rotated to a name, as logrotate does: while it does, both are
// there.
func (l *foreignLab) packed(name string) {
	l.t.Helper()
	st, err := os.Stat(l.log + name)
	must(l.t, err)
	text, err := os.ReadFile(l.log + name)
	must(l.t, err)
	f, err := os.Create(l.log + name + ".gz")
	must(l.t, err)
	z := gzip.NewWriter(f)
	_, err = z.Write(text[:len(text)/2])
	must(l.t, err)
	must(l.t, z.Flush())
	_, err = z.Write(text[len(text)/2:])
	must(l.t, err)
	must(l.t, z.Close())
	must(l.t, f.Close())
	must(l.t, os.Chtimes(l.log+name+".gz", st.ModTime(), st.ModTime()))
	must(l.t, os.Remove(l.log+name))
}

// TestALogOfAnotherProgramIsRotated, while we read it and while we do not: each of its
// lines is pushed, once.
func TestALogOfAnotherProgramIsRotated(t *testing.T) {
	twice := func(l *foreignLab) []string {
		l.renamed(".1")
		more := l.logs(5)
		must(l.t, os.Rename(l.log+".1", l.log+".2"))
		l.renamed(".1")
		return more
	}
	first := func(l *foreignLab) string {
		text, err := os.ReadFile(l.log)
		must(l.t, err)
		line, _, _ := strings.Cut(string(text), "\n")
		return line + "\n"
	}
	for _, s := range []struct {
		what   string
		rotate func(l *foreignLab) (more []string)
		again  int // how many outcomes come a second time; negative: some, for nobody can tell the logs apart
	}{
		{"renamed", func(l *foreignLab) []string { l.renamed(".1"); return nil }, 0},
		{"renamed by date", func(l *foreignLab) []string { l.renamed("-20261122"); return nil }, 0},
		{"renamed twice", twice, 0},
		{"compressed", func(l *foreignLab) []string { l.renamed(".1"); l.packed(".1"); return nil }, 0},
		{"compressed by date", func(l *foreignLab) []string { l.renamed("-20261122"); l.packed("-20261122"); return nil }, 0},
		{"compressed, and rotated once more", func(l *foreignLab) []string {
			l.renamed(".1")
			l.packed(".1")
			more := l.logs(5)
			must(l.t, os.Rename(l.log+".1.gz", l.log+".2.gz"))
			l.renamed(".1")
			l.packed(".1")
			more = append(more, l.logs(5)...)
			l.renamed("-20261122")
			return more
		}, 0},
		{"cut short, and compressed", func(l *foreignLab) []string { l.copied(".1"); l.packed(".1"); return nil }, 0},
		{"compressed, with the same first line", func(l *foreignLab) []string {
			line := first(l)
			l.renamed(".1")
			l.appends(line)
			more := l.logs(5)
			must(l.t, os.Rename(l.log+".1", l.log+".2"))
			l.renamed(".1")
			l.packed(".2")
			l.packed(".1")
			return more
		}, -1},
		{"an archive of one's own", func(l *foreignLab) []string {
			l.renamed(".1")
			text, err := os.ReadFile(l.log + ".1")
			must(l.t, err)
			must(l.t, os.WriteFile(l.log+"-20261122", text, 0o600))
			l.packed("-20261122")
			return nil
		}, 0},
		{"cut short", func(l *foreignLab) []string { l.copied(".1"); return nil }, 0},
		{"cut short, and grown past", func(l *foreignLab) []string { l.copied(".1"); return l.logs(40) }, 0},
		{"cut short, with the same first line", func(l *foreignLab) []string {
			line := first(l)
			l.copied("-20261122")
			l.appends(line)
			return l.logs(40)
		}, 1},
	} {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, up %t", s.what, up), func(t *testing.T) {
				l := newForeignLab(t)
				all := l.logs(10)
				l.start()
				l.judged(all...)
				if !up {
					l.halt()
					all = append(all, l.logs(10)...)
				}
				all = append(all, s.rotate(l)...)
				all = append(all, l.logs(5)...)
				if !up {
					l.start()
				}
				l.judged(all...)
				l.halt()
				l.start()
				all = append(all, l.logs(5)...)
				l.judged(all...)
				if n := len(l.outcomes()) - len(all); n != s.again && (s.again >= 0 || n < 1) {
					t.Errorf("%d outcomes for %d lines\n%s", len(l.outcomes()), len(all)+s.again, l.logged())
				}
			})
		}
	}
}

// TestOldLogsWithTheSameFirstLine lie there compressed when we come first. They are not
// read, and of what is rotated after that no line is passed over.
func TestOldLogsWithTheSameFirstLine(t *testing.T) {
	for _, up := range []bool{true, false} {
		t.Run(fmt.Sprintf("up %t", up), func(t *testing.T) {
			l := newForeignLab(t)
			var old []string
			for _, name := range []string{".3", ".2"} {
				l.appends("# begins\n")
				old = append(old, l.logs(3)...)
				l.renamed(name)
				l.packed(name)
			}
			l.appends("# begins\n")
			all := l.logs(5)
			l.start()
			l.judged(all...)
			if !up {
				l.halt()
			}
			all = append(all, l.logs(5)...)
			l.renamed(".1")
			l.packed(".1")
			l.appends("# begins\n")
			all = append(all, l.logs(5)...)
			if !up {
				l.start()
			}
			l.judged(all...)
			for _, o := range l.outcomes() {
				if slices.Contains(old, o.Path) && up {
					t.Errorf("an old log is read: %+v", o)
				}
			}
		})
	}
}

// TestADamagedLogIsReadAsFarAsItGoes: and the place of the damage is said.
func TestADamagedLogIsReadAsFarAsItGoes(t *testing.T) {
	l := newForeignLab(t)
	l.start()
	l.judged(l.logs(10)...)
	l.halt()
	more := l.logs(400)
	l.renamed(".1")
	l.packed(".1")
	st, err := os.Stat(l.log + ".1.gz")
	must(t, err)
	must(t, os.Truncate(l.log+".1.gz", st.Size()-st.Size()/4))
	fresh := l.logs(5)
	l.start()
	l.judged(fresh...)
	l.judged(more[:100]...)
	if n := len(l.outcomes()); n < 115 || n > 410 {
		t.Errorf("%d outcomes", n)
	}
	for _, words := range []string{"a compressed log of another program is damaged", "monitor.log.1.gz", "offset=", "unexpected EOF", "not to be found any more"} {
		if !strings.Contains(l.logged(), words) {
			t.Errorf("%q is not said", words)
		}
	}
}

// TestACompressedLogIsSaid: what lies in a log that is compressed and cannot be read is
// said.
func TestACompressedLogIsSaid(t *testing.T) {
	l := newForeignLab(t)
	l.start()
	l.judged(l.logs(10)...)
	l.halt()
	l.logs(5)
	must(t, os.Rename(l.log, l.log+".1.gz")) // what it holds does not matter
	fresh := l.logs(5)
	l.start()
	l.judged(fresh...)
	if said := l.logged(); !strings.Contains(said, "not to be found any more") || strings.Contains(said, "sweep") {
		t.Error(said)
	}
}

// TestLogrotate rotates a log with the real one while it is read.
func TestLogrotate(t *testing.T) {
	tool, err := exec.LookPath("logrotate")
	if err != nil {
		tool = "/usr/sbin/logrotate"
	}
	if _, err := os.Stat(tool); err != nil {
		cannot(t, "logrotate is not installed", err)
	}
	for _, how := range []string{"create", "copytruncate", "nocreate\ncompress\ndelaycompress", "create\ncompress", "copytruncate\ncompress"} {
		t.Run(how, func(t *testing.T) {
			l := newForeignLab(t)
			dir := t.TempDir()
			must(t, os.Chmod(l.c.Journal.Dir, 0o755))
			conf := filepath.Join(dir, "conf")
			must(t, os.WriteFile(conf, fmt.Appendf(nil, "%s {\nrotate 9\n%s\n}\n", l.log, how), 0o600))
			l.start()
			var all []string
			for range 4 {
				all = append(all, l.logs(10)...)
				l.judged(all...)
				all = append(all, l.logs(10)...) // perhaps not read yet
				if out, err := exec.Command(tool, "-f", "-s", filepath.Join(dir, "state"), conf).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			all = append(all, l.logs(10)...)
			l.judged(all...)
			if n := len(l.outcomes()); n != len(all) {
				t.Errorf("%d outcomes of %d lines", n, len(all))
			}
		})
	}
}

// TestPathsOfAnotherProgram: a log that begins with a byte order mark, has line ends of
// Windows, and names the files of a linked tree by their real path, or the other way
// round. What names no file is said, and so is what lies outside.
func TestPathsOfAnotherProgram(t *testing.T) {
	l := newForeignLab(t)
	place, link := l.drop, filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(place, link))
	other := filepath.Join(t.TempDir(), "way")
	must(t, os.Symlink(filepath.Dir(place), other))
	must(t, os.MkdirAll(filepath.Join(place, "sub"), 0o700))
	l.c.Trees[0].Path = link
	var paths []string
	for _, folder := range []string{place, link, filepath.Join(other, filepath.Base(place)), filepath.Join(place, "sub")} {
		l.n++
		path := filepath.Join(folder, fmt.Sprint("file", l.n))
		must(t, os.WriteFile(path, []byte("x"), 0o600))
		paths = append(paths, path)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	l.appends("\ufeff" + strings.Join(append(paths, outside, "sub/file4", "# begins"), "\r\n") + "\r\n")
	l.start()
	l.judged(append(paths, outside)...)
	for _, o := range l.outcomes() {
		if want := map[bool]string{true: "skipped", false: "done"}[o.Path == outside]; o.Outcome != want {
			t.Errorf("%+v", o)
		}
	}
	for _, word := range []string{"sub/file4", "# begins", "path=" + outside, "offset="} {
		if !strings.Contains(l.logged(), word) {
			t.Errorf("%q is not said:\n%s", word, l.logged())
		}
	}
}
