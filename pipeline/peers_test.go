// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scanners"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// These benchmarks run certpush and the peers' programs end to end on the same clamd.
// `make bench` prints the ratios. Each runs once: -benchtime=1x.

const (
	manyFiles = 10_000
	manySize  = 4 << 10
)

// fill makes n files of size random bytes in 100 folders and returns their root.
func fill(b *testing.B, n, size int) string {
	b.Helper()
	dir := b.TempDir()
	buf := make([]byte, size)
	for i := range n {
		rand.Read(buf)
		sub := filepath.Join(dir, fmt.Sprint(i%100))
		if i < 100 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), buf, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// journaled journals the files of dir into a new state folder, and returns the
// configuration of it.
func journaled(b *testing.B, dir string) Config {
	b.Helper()
	c := Config{State: b.TempDir(), Trees: []Tree{{Path: dir}}, Journal: Journal{MinFree: -1}, Log: slog.New(slog.DiscardHandler), Half: ProducerOnly}
	p, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	stop := runIt(b, p)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(p.Status().Trees) == 0 || p.Status().Trees[0].LastSweep == nil {
		<-tick.C
	}
	stop()
	return c
}

// pushAll pushes the lines of c's journal until all n files have their outcome. It
// returns the time and the processor time.
func pushAll(b *testing.B, c Config, addr string, n, workers int) (took, cpu time.Duration) {
	b.Helper()
	var done atomic.Int64
	all := make(chan struct{})
	c.Half = config.ConsumerOnly
	c.Outcome = func(o sample.Outcome) {
		if o.Outcome != sample.Done {
			b.Errorf("%+v", o)
		}
		if done.Add(1) == int64(n) {
			close(all)
		}
	}
	c.Scanners = []config.Scanner{{Name: "clamav", Type: "clamd", Addresses: []string{addr}, Workers: workers}}
	p, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	before := cpuTime()
	begun := time.Now()
	stop := runIt(b, p)
	<-all
	took, cpu = time.Since(begun), cpuTime()-before
	stop()
	return took, cpu
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// clamdscan runs the peer over dir on the same clamd and returns how long that took.
func clamdscan(b *testing.B, d *scantest.RealClamd, dir string, tcp bool, args ...string) time.Duration {
	b.Helper()
	conf := filepath.Join(b.TempDir(), "clamd.conf")
	text := "LocalSocket " + strings.TrimPrefix(d.UnixAddr, "unix:") + "\n"
	if tcp {
		host, port, _ := strings.Cut(strings.TrimPrefix(d.TCPAddr, "tcp:"), ":")
		text = "TCPAddr " + host + "\nTCPSocket " + port + "\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("clamdscan", append([]string{"--quiet", "-c", conf}, append(args, dir)...)...)
	cmd.Stderr = io.Discard
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("clamdscan %q: %v", args, err)
	}
	return time.Since(begun)
}

// bare scans the files of dir in sessions without pause: no journal, no hash, no
// ledger. Its time is the limit that the protocol sets.
func bare(b *testing.B, dir, addr string, sessions int) time.Duration {
	b.Helper()
	s, err := scanners.New(scan.Config{Type: "clamd", Addresses: []string{addr}, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	paths := make(chan string, manyFiles)
	for i := range manyFiles {
		paths <- filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint(i))
	}
	close(paths)
	begun := time.Now()
	var all sync.WaitGroup
	for range sessions {
		all.Go(func() {
			var open []*os.File
			answers := s.Scan(b.Context(), func(yield func(scan.File) bool) {
				for path := range paths {
					f, err := os.Open(path)
					if err != nil {
						b.Error(err)
						return
					}
					if open = append(open, f); !yield(scan.File{F: f, Size: manySize}) {
						return
					}
				}
			})
			for i, a := range answers {
				if open[i].Close(); a.Err != nil {
					b.Error(a.Err)
				}
			}
		})
	}
	all.Wait()
	return time.Since(begun)
}

// BenchmarkClamd pushes 10,000 files of 4 KiB to a real clamd: journaled, hashed,
// judged and recorded. It compares that with clamdscan and with bare sessions, which
// only scan.
func BenchmarkClamd(b *testing.B) {
	for _, way := range []struct {
		name string
		tcp  bool
		args []string
	}{{"unix-fdpass", false, []string{"--multiscan", "--fdpass"}}, {"tcp-stream", true, []string{"--multiscan", "--stream"}}} {
		for _, workers := range []int{0, 2, 16} {
			as := fmt.Sprint(workers)
			if workers == 0 {
				as = "auto"
			}
			b.Run(fmt.Sprintf("%s/workers=%s", way.name, as), func(b *testing.B) {
				dir := fill(b, manyFiles, manySize)
				d := scantest.Clamd(b)
				var peer, plain, ours []time.Duration
				for range 3 * b.N {
					d.Restart() // so its cache of clean files is empty for each run
					peer = append(peer, clamdscan(b, d, dir, way.tcp, way.args...))
					d.Restart()
					addr := d.UnixAddr
					if way.tcp {
						addr = d.TCPAddr
					}
					plain = append(plain, bare(b, dir, addr, 2))
					d.Restart()
					c := journaled(b, dir)
					took, _ := pushAll(b, c, addr, manyFiles, workers)
					ours = append(ours, took)
				}
				slices.Sort(peer)
				slices.Sort(plain)
				slices.Sort(ours)
				p, n, o := peer[len(peer)/2].Seconds(), plain[len(plain)/2].Seconds(), ours[len(ours)/2].Seconds()
				b.ReportMetric(manyFiles/p, "clamdscan/s")
				b.ReportMetric(manyFiles/n, "bare-session/s")
				b.ReportMetric(manyFiles/o, "certpush/s")
				b.ReportMetric(p/n, "bare-ratio")
				b.ReportMetric(p/o, "ratio")
			})
		}
	}
}

// BenchmarkLatency measures the time from close() until the scanner received the file,
// at 200 files a second.
func BenchmarkLatency(b *testing.B) {
	d := scantest.Start(b, "unix")
	drop := b.TempDir()
	p, err := New(Config{
		State: b.TempDir(), Trees: []config.Tree{{Path: drop}}, Journal: config.Journal{MinFree: -1}, Log: slog.New(slog.DiscardHandler),
		Scanners: []config.Scanner{{Name: "clamav", Type: "clamd", Addresses: []string{d.Addr()}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	stop := runIt(b, p)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for p.Ready() != nil {
		<-pace.C
	}
	const n = 2000
	closed := map[[32]byte]time.Time{}
	for i := range n {
		<-pace.C
		text := bytes.Repeat(fmt.Appendf(nil, "sample %06d\n", i), 300)
		if err := os.WriteFile(filepath.Join(drop, fmt.Sprint(i)), text, 0o600); err != nil {
			b.Fatal(err)
		}
		closed[sha256.Sum256(text)] = time.Now()
	}
	ours := func() (count int) { // the canaries are received too
		for _, r := range d.Received() {
			if _, ok := closed[r.SHA256]; ok {
				count++
			}
		}
		return count
	}
	for late := time.Now().Add(time.Minute); ours() < n && time.Now().Before(late); {
		<-pace.C
	}
	stop()
	var took []float64
	for _, r := range d.Received() {
		if at, ok := closed[r.SHA256]; ok {
			took = append(took, r.At.Sub(at).Seconds()*1000)
			delete(closed, r.SHA256)
		}
	}
	if len(closed) > 0 {
		b.Fatalf("%d files were not received", len(closed))
	}
	slices.Sort(took)
	b.ReportMetric(took[n/2], "p50-ms")
	b.ReportMetric(took[n*99/100], "p99-ms")
	b.ReportMetric(took[n-1], "max-ms")
}

// BenchmarkClientCPU measures our processor time for each GiB, without that of SHA-256,
// on 512 MiB in files of 16 MiB.
func BenchmarkClientCPU(b *testing.B) {
	const n, size = 32, 16 << 20
	dir := fill(b, n, size)
	d := scantest.Clamd(b)
	for _, way := range []struct{ name, addr string }{{"unix-fdpass", d.UnixAddr}, {"tcp-stream", d.TCPAddr}} {
		b.Run(way.name, func(b *testing.B) {
			var hashes, beyond []float64 // seconds for each GiB; we take the median, because other programs run too
			for range 3 {
				c := journaled(b, dir)
				hash := hashAll(b, dir, n, size)
				_, cpu := pushAll(b, c, way.addr, n, 2)
				gib := float64(n*size) / (1 << 30)
				hashes, beyond = append(hashes, hash.Seconds()/gib), append(beyond, (cpu-hash).Seconds()/gib)
			}
			slices.Sort(hashes)
			slices.Sort(beyond)
			b.ReportMetric(beyond[1], "cpu-s/GiB")
			b.ReportMetric(hashes[1], "sha256-s/GiB")
		})
	}
}

// hashAll returns the processor time to read and hash the files of fill.
func hashAll(b *testing.B, dir string, n, size int) time.Duration {
	b.Helper()
	before := cpuTime()
	buf := make([]byte, size)
	for i := range n {
		f, err := os.Open(filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint(i)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(f, buf); err != nil {
			b.Fatal(err)
		}
		f.Close()
		sha256.Sum256(buf)
	}
	return cpuTime() - before
}
