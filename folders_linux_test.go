// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	watchedFolders = 100_000
	burstFiles     = 20_000
)

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
func (r *running) spent() time.Duration {
	r.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/stat")
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	words, ticks := strings.Fields(rest), 0
	for _, w := range words[11:13] {
		n, err := strconv.Atoi(w)
		if err != nil {
			r.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// journaled waits until n samples are in the journal.
func (r *running) journaled(n int) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(90 * time.Second); ; <-tick.C {
		a, err := http.Get("http://" + r.addr + "/metrics")
		if err != nil {
			r.t.Fatal(err)
		}
		sum := 0.0
		for s := bufio.NewScanner(a.Body); s.Scan(); {
			if name, value, _ := strings.Cut(s.Text(), " "); strings.HasPrefix(name, "certpush_samples_journaled_total{") {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					r.t.Fatal(err)
				}
				sum += v
			}
		}
		a.Body.Close()
		if int(sum) >= n {
			return
		}
		if time.Now().After(late) {
			r.t.Fatalf("%.0f of %d journaled", sum, n)
		}
	}
}

// BenchmarkFolders watches a tree of 100,000 folders by each engine, and then drops a
// burst of files into it, all in memory. CPU and memory are the whole program's.
func BenchmarkFolders(b *testing.B) {
	program, tree := built(b), onTmpfs(b)
	for i := range watchedFolders {
		if err := os.MkdirAll(filepath.Join(tree, "group-"+strconv.Itoa(i/10_000), "day-"+strconv.Itoa(i/100%100), "folder-"+strconv.Itoa(i%100)), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	burst := 0
	for _, engine := range []string{"fsnotify", "inotify"} {
		b.Run(engine, func(b *testing.B) {
			for range b.N {
				file, addr := by(b, engine, tree)
				begun := time.Now()
				r := started(b, program, addr, "watch", "-c", file)
				r.says(sweptLine)
				took, cpu := time.Since(begun), r.spent()
				_, peak := r.memory()
				b.ReportMetric(took.Seconds(), "watched-s")
				b.ReportMetric(cpu.Seconds(), "watched-CPU-s")
				b.ReportMetric(peak, "peak-MB")
				go func() { // a full pipe would block the process
					for r.log.Scan() {
						continue
					}
				}()
				dir := filepath.Join(tree, "burst-"+strconv.Itoa(burst))
				burst++
				for i := range burstFiles {
					sub := filepath.Join(dir, strconv.Itoa(i/1000))
					if i%1000 == 0 {
						if err := os.MkdirAll(sub, 0o755); err != nil {
							b.Fatal(err)
						}
					}
					if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), []byte("sample"), 0o644); err != nil {
						b.Fatal(err)
					}
				}
				r.journaled(burstFiles)
				b.ReportMetric(float64((r.spent()-cpu).Microseconds())/burstFiles, "burst-CPU-us/file")
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				r.cmd.Process.Kill()
				r.cmd.Wait()
			}
		})
	}
}
