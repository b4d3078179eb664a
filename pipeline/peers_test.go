// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan/scantest"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// These rows of `make bench` run in this process: they need its own processor time, or a
// disk of their own. Each runs once: -benchtime=1x.

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

// BenchmarkSlowDisk pushes files at the defaults while each sync of the disk takes 10 ms
// longer: the disk is in memory, and its syncs wait.
func BenchmarkSlowDisk(b *testing.B) {
	const n, size = 2000, 4 << 10
	for range b.N {
		d := scantest.Clamd(b, "AlertExceedsMax yes", "AlertEncrypted yes")
		files := disktest.New()
		wait := func(op disktest.Op) error {
			if strings.Contains(op.Kind, "sync") {
				<-time.After(10 * time.Millisecond)
			}
			return nil
		}
		files.Before = wait
		var recorded atomic.Int64
		all := make(chan struct{})
		c := Config{
			State: rigState, Trees: []Tree{{Path: fill(b, n, size)}}, Log: slog.New(slog.DiscardHandler), Journal: Journal{MinFree: -1},
			Scanners: []config.Scanner{{Name: "clamav", Type: "clamd", Addresses: []string{d.UnixAddr}}},
			disk:     store.Disk{Disk: files, Pebble: &asked{vfs.NewCrashableMem(), wait}},
			Outcome: func(o sample.Outcome) {
				if o.Outcome != sample.Done {
					b.Errorf("%+v", o)
				}
				if recorded.Add(1) == n {
					close(all)
				}
			},
		}
		p, err := New(c)
		if err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		stop := runIt(b, p)
		<-all
		b.ReportMetric(n/time.Since(begun).Seconds(), "ours/s")
		stop()
	}
}
