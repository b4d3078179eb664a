// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const watchLimit = "/proc/sys/fs/inotify/max_user_watches"

// allowed raises the system's limit of watches to n, until the end of the test.
func allowed(t testing.TB, n int) {
	t.Helper()
	text, err := os.ReadFile(watchLimit)
	if err != nil {
		t.Fatal(err)
	}
	have, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if have >= n {
		return
	}
	if err := os.WriteFile(watchLimit, []byte(strconv.Itoa(n)), 0o600); err != nil {
		t.Skipf("%d watches are allowed, and %d are needed: %v", have, n, err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(watchLimit, text, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// onTmpfs returns an empty folder in memory.
func onTmpfs(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "certpush-")
	if err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// by is configured with an engine of its own for the tree.
func by(t testing.TB, engine, tree string) (file, addr string) {
	t.Helper()
	file, addr = configured(t, tree)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "[[watch]]", "[[watch]]\nengine = "+strconv.Quote(engine), 1))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, addr
}

// spent returns the processor time that the process has used, user and system.
func (r *running) spent() time.Duration { return spentBy(r.t, r.cmd.Process.Pid) }

func spentBy(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	words, ticks := strings.Fields(rest), 0
	for _, w := range words[11:13] {
		n, err := strconv.Atoi(w)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// heard is what the status says of how a tree is heard.
type heard struct {
	Engine      string
	Directories int
	Watched     bool
}

// tree returns the status of the first tree, with no name if nobody answers yet.
func (r *running) tree() (t heard) {
	r.t.Helper()
	a, err := http.Get("http://" + r.addr + "/api/v1/status")
	if err != nil {
		return t
	}
	defer a.Body.Close()
	var s struct{ Trees []heard }
	if err := json.NewDecoder(a.Body).Decode(&s); err != nil || len(s.Trees) == 0 {
		r.t.Fatal(err, s.Trees)
	}
	return s.Trees[0]
}

// armed waits until all folders of the first tree are heard: with the engine fanotify from
// the mark on, with others when each folder has its watch.
func (r *running) armed(folders int) time.Time {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(5 * time.Minute); ; <-tick.C {
		switch t := r.tree(); {
		case t.Watched && (t.Engine == "fanotify" || t.Directories >= folders):
			return time.Now()
		case time.Now().After(late):
			r.t.Fatalf("not armed: %+v", t)
		}
	}
}

// journaled waits until n samples are in the journal.
func (r *running) journaled(n int) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(90 * time.Second); ; <-tick.C {
		have := int(r.metric("certpush_samples_journaled_total{"))
		if have >= n {
			return
		}
		if time.Now().After(late) {
			r.t.Fatalf("%d of %d journaled", have, n)
		}
	}
}

// metric returns the sum of the series whose names begin so.
func (r *running) metric(begin string) (sum float64) {
	r.t.Helper()
	a, err := http.Get("http://" + r.addr + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Body.Close()
	for s := bufio.NewScanner(a.Body); s.Scan(); {
		if name, value, _ := strings.Cut(s.Text(), " "); strings.HasPrefix(name, begin) {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				r.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// BenchmarkFolders watches a tree of a million folders by each engine, and then drops a
// burst of files into it, all in memory. CPU and memory are the whole program's.
func BenchmarkFolders(b *testing.B) {
	folders, files := few(1_000_000), few(20_000)
	allowed(b, folders+folders/10)
	program, tree := built(b), onTmpfs(b)
	for i := range folders {
		if err := os.MkdirAll(filepath.Join(tree, strconv.Itoa(i/10_000), "day-"+strconv.Itoa(i/100%100), "folder-"+strconv.Itoa(i%100)), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	burst := 0
	for _, engine := range []string{"fsnotify", "inotify", "fanotify"} {
		b.Run(engine, func(b *testing.B) {
			for range b.N {
				file, addr := by(b, engine, tree)
				begun := time.Now()
				r := started(b, program, addr, "watch", "-c", file)
				b.ReportMetric(r.armed(folders).Sub(begun).Seconds(), "armed-s")
				r.says(sweptLine)
				took, cpu := time.Since(begun), r.spent()
				if at := r.tree().Engine; at != engine {
					b.Skipf("the engine cannot be had here: %s takes its place", at)
				}
				_, peak := r.memory()
				b.ReportMetric(took.Seconds(), "watched-s")
				b.ReportMetric(cpu.Seconds(), "watched-CPU-s")
				b.ReportMetric(peak, "ours-MB")
				r.drained()
				dir := filepath.Join(tree, "burst-"+strconv.Itoa(burst))
				burst++
				if err := os.Mkdir(dir, 0o755); err != nil {
					b.Fatal(err)
				}
				grown(b, dir, files)
				r.journaled(files)
				b.ReportMetric(float64((r.spent()-cpu).Microseconds())/float64(files), "burst-us")
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				r.cmd.Process.Kill()
				r.cmd.Wait()
			}
		})
	}
}

// BenchmarkStopped drops files while the process is stopped for a second (SIGSTOP).
// None may be lost. It counts the overflows, after which only a sweep finds them.
func BenchmarkStopped(b *testing.B) {
	n := few(100_000)
	for _, engine := range []string{"inotify", "fanotify"} {
		b.Run(engine, func(b *testing.B) {
			for range b.N {
				tree := onTmpfs(b)
				file, addr := by(b, engine, tree)
				r := started(b, built(b), addr, "watch", "-c", file)
				r.drained()
				r.ready(time.Minute)
				signal := func(s os.Signal) {
					if err := r.cmd.Process.Signal(s); err != nil {
						b.Fatal(err)
					}
				}
				signal(syscall.SIGSTOP)
				second := time.After(time.Second)
				grown(b, tree, n)
				<-second
				signal(syscall.SIGCONT)
				r.journaled(n)
				b.ReportMetric(r.metric("certpush_events_lost_total{"), "overflows")
				b.ReportMetric(0, "lost") // journaled fails where one is missing
				r.stop()
			}
		})
	}
}
