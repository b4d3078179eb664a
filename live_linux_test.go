// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// dropped writes n files into dir, rate each second, and returns when each was closed,
// by the SHA-256 of its bytes.
func dropped(b *testing.B, dir string, n, rate int) map[[32]byte]time.Time {
	b.Helper()
	closed := make(map[[32]byte]time.Time, n)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	begun := time.Now()
	for i := range n {
		for time.Since(begun) < time.Duration(i)*time.Second/time.Duration(rate) {
			<-tick.C
		}
		text := bytes.Repeat(fmt.Appendf(nil, "sample %06d\n", i), 300)
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), text, 0o600); err != nil {
			b.Fatal(err)
		}
		closed[sha256.Sum256(text)] = time.Now()
	}
	return closed
}

// latencies waits until d has received all of closed, and returns how long each took,
// in ms, the least first.
func latencies(b *testing.B, d *scantest.Server, closed map[[32]byte]time.Time) []float64 {
	b.Helper()
	var took []float64
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(time.Minute); len(took) < len(closed); <-tick.C {
		if time.Now().After(late) {
			b.Fatalf("%d of %d files were received", len(took), len(closed))
		}
		first := map[[32]byte]time.Time{}
		for _, r := range d.Received() { // the canaries too
			if _, have := first[r.SHA256]; !have {
				first[r.SHA256] = r.At
			}
		}
		took = took[:0]
		for sum, at := range closed {
			if got, ok := first[sum]; ok {
				took = append(took, got.Sub(at).Seconds()*1000)
			}
		}
	}
	slices.Sort(took)
	return took
}

// live is what one program took in one round of BenchmarkLive.
type live struct {
	took []float64     // ms, the least first
	own  time.Duration // processor time
}

func (l live) at(percent int) float64 { return l.took[(len(l.took)-1)*percent/100] }

// notified is a round of the peer: inotifywait and the pusher behind it.
func notified(b *testing.B, n, rate int) live {
	b.Helper()
	if _, err := exec.LookPath("inotifywait"); err != nil {
		b.Skip("inotifywait is not installed: install inotify-tools")
	}
	dir, d := onTmpfs(b), scantest.Start(b, "unix")
	wait := exec.Command("inotifywait", "-m", "-r", "-e", "close_write", "-e", "moved_to", "--format", "%w%f", dir)
	push := exec.Command("python3", "testdata/pusher.py", strings.TrimPrefix(d.Addr(), "unix:"))
	push.Stderr = os.Stderr
	said, err := wait.StderrPipe()
	if err == nil {
		push.Stdin, err = wait.StdoutPipe()
	}
	if err == nil {
		err = wait.Start()
	}
	if err == nil {
		err = push.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan() && !strings.Contains(lines.Text(), "Watches established"); {
		continue
	}
	own := func() time.Duration { return spentBy(b, wait.Process.Pid) + spentBy(b, push.Process.Pid) }
	before := own()
	closed := dropped(b, dir, n, rate)
	l := live{latencies(b, d, closed), own() - before}
	wait.Process.Kill()
	wait.Wait()
	if err := push.Wait(); err != nil {
		b.Error(err)
	}
	return l
}

// served is a round of the program at its defaults.
func served(b *testing.B, program string, n, rate int) live {
	b.Helper()
	dir, d := onTmpfs(b), scantest.Start(b, "unix")
	file, addr := pushing(b, dir, d.Addr())
	r := started(b, program, addr, "run", "-c", file)
	r.drained()
	r.ready(time.Minute)
	before := r.spent()
	closed := dropped(b, dir, n, rate)
	l := live{latencies(b, d, closed), r.spent() - before}
	r.judged(n)
	r.stop()
	return l
}

// BenchmarkLive drops files at a steady rate and measures the time from close until the
// scanner received them: by the program, and by inotifywait with a pusher.
func BenchmarkLive(b *testing.B) {
	for _, rate := range []int{200, 2000} {
		b.Run(strconv.Itoa(rate), func(b *testing.B) {
			program, n := built(b), 10*rate
			if os.Getenv("BENCH") == "short" {
				n = rate / 2
			}
			for range b.N {
				peer, ours := notified(b, n, rate), served(b, program, n, rate)
				for _, percent := range []int{50, 99} {
					b.ReportMetric(ours.at(percent), fmt.Sprintf("ours-p%d-ms", percent))
					b.ReportMetric(peer.at(percent), fmt.Sprintf("peer-p%d-ms", percent))
					b.ReportMetric(ours.at(percent)/peer.at(percent), fmt.Sprintf("p%d-ratio", percent))
				}
				b.ReportMetric(ours.own.Seconds()*1e6/float64(n), "ours-us")
				b.ReportMetric(peer.own.Seconds()*1e6/float64(n), "peer-us")
				b.ReportMetric(ours.own.Seconds()/peer.own.Seconds(), "cpu-ratio")
			}
		})
	}
}
