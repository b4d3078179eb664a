// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The rows of `make bench` for large trees. The files are in memory, the state is on the
// disk of the temporary folder.

// grown makes n files of one byte in n/1000 folders, below dir.
func grown(t testing.TB, dir string, n int) {
	t.Helper()
	for i := range n {
		sub := filepath.Join(dir, strconv.Itoa(i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(sub, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("sample-%07d.bin", i)), []byte{'x'}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// found returns how long find takes to list the same files, in the same warm tree.
func found(t testing.TB, tree string) time.Duration {
	t.Helper()
	cmd := exec.Command("find", tree, "-type", "f", "-printf", "%p %s %T@\n")
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return time.Since(begun)
}

const sweptLine = `msg=swept .*why=start files=(\d+) journaled=(\d+) took=(\S+)`

// swept runs `watch` until its first sweep has ended. It returns how many files that
// sweep journaled, how long it took, and the largest resident memory in MB.
func swept(b *testing.B, program, file, addr string, n int) (journaled int, took time.Duration, peak float64) {
	b.Helper()
	r := started(b, program, addr, "watch", "-c", file)
	line := r.says(sweptLine)
	took, err := time.ParseDuration(line[3])
	if err != nil || line[1] != strconv.Itoa(n) {
		b.Fatal(line, err)
	}
	if journaled, err = strconv.Atoi(line[2]); err != nil {
		b.Fatal(err)
	}
	_, peak = r.memory()
	r.stop()
	return journaled, took, peak
}

// BenchmarkScale sweeps a tree of a million files: first unknown, then known. Then it
// starts with all of them waiting, pushes them, and proves it.
func BenchmarkScale(b *testing.B) {
	n := few(1_000_000)
	for range b.N {
		program, tree := built(b), onTmpfs(b)
		grown(b, tree, n)
		file, addr := configured(b, tree)
		journaled, took, peak := swept(b, program, file, addr, n)
		if journaled != n {
			b.Fatalf("%d files, %d journaled", n, journaled)
		}
		b.ReportMetric(float64(n)/took.Seconds(), "unknown/s")
		b.ReportMetric(peak, "unknown-MB")

		peer := found(b, tree)
		journaled, took, peak = swept(b, program, file, addr, n)
		if journaled != 0 {
			b.Fatalf("%d known files journaled", journaled)
		}
		b.ReportMetric(took.Seconds(), "known-s")
		b.ReportMetric(peer.Seconds(), "find-s")
		b.ReportMetric(took.Seconds()/peer.Seconds(), "known-ratio")
		b.ReportMetric(peak, "known-MB")

		begun := time.Now()
		r := started(b, program, addr, "run", "-c", file)
		r.drained()
		r.ready(time.Minute)
		b.ReportMetric(time.Since(begun).Seconds(), "ready-s")
		recorded(b, file, n)
		b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "backlog/s")
		b.ReportMetric(r.spent().Seconds()*1e6/float64(n), "backlog-us")
		_, peak = r.memory()
		b.ReportMetric(peak, "backlog-MB")
		r.judged(n)

		begun = time.Now()
		if text, err := exec.Command(program, "verify", "-c", file).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, text)
		}
		b.ReportMetric(time.Since(begun).Seconds(), "verify-s")
		r.stop()
	}
}

// BenchmarkBurst drops files as fast as one program can while the service runs. The
// processor time of the start is not counted.
func BenchmarkBurst(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			n := few(n)
			for range b.N {
				program, tree := built(b), onTmpfs(b)
				file, addr := configured(b, tree)
				r := started(b, program, addr, "run", "-c", file)
				r.drained()
				r.ready(time.Minute)
				before, begun := r.spent(), time.Now()
				grown(b, tree, n)
				recorded(b, file, n)
				b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "ours/s")
				b.ReportMetric((r.spent()-before).Seconds()*1e6/float64(n), "ours-us")
				_, peak := r.memory()
				b.ReportMetric(peak, "ours-MB")
				r.judged(n)
				r.stop()
			}
		})
	}
}
