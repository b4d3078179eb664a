// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan/scantest"
	"golang.org/x/sync/errgroup"
)

// The rows of `make bench` in which the program works beside a peer's program, by turns
// on the same machine and the same clamd. testdata/bench.tsv names the rows, their
// figures and their aims.

// benchClamd is what each row's clamd.conf has beside the defaults of scantest.
var benchClamd = []string{"MaxThreads 10", "MaxQueue 100", "AlertExceedsMax yes", "AlertEncrypted yes"}

// few returns n, or a hundredth of it in the short form that CI runs.
func few(n int) int {
	if os.Getenv("BENCH") == "short" {
		return max(1, n/100)
	}
	return n
}

// filled makes n files of size random bytes in 100 folders in memory.
func filled(b *testing.B, n, size int) string {
	b.Helper()
	dir, text := onTmpfs(b), make([]byte, size)
	for i := range n {
		rand.Read(text)
		sub := filepath.Join(dir, strconv.Itoa(i%100))
		if i < 100 {
			if err := os.Mkdir(sub, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// pushing writes a configuration at the defaults: one tree, one clamd.
func pushing(t testing.TB, tree, clamd string) (file, addr string) {
	t.Helper()
	file, addr = configured(t, tree)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain, _, _ := strings.Cut(string(text), "[scanner.")
	plain += fmt.Sprintf("[scanner.clamav]\ntype = \"clamd\"\naddress = %q\n", clamd)
	if err := os.WriteFile(file, []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, addr
}

// recorded waits until the ledger has n outcomes. It reads what was written since it
// looked last, so that it takes little from the process that it measures.
func recorded(t testing.TB, file string, n int) {
	t.Helper()
	path := filepath.Join(filepath.Dir(file), "state", "ledger", "verdicts.log")
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var active *os.File
	buf, have := make([]byte, 1<<20), 0
	count := func() {
		for k := 1; k > 0; {
			k, _ = active.Read(buf) // an error is the end of the file: the next look reads on
			have += bytes.Count(buf[:k], []byte("\n"))
		}
	}
	for late := time.Now().Add(10 * time.Minute); have < n; <-tick.C {
		if time.Now().After(late) {
			t.Fatalf("%d of %d outcomes", have, n)
		}
		if active != nil {
			count()
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if active != nil && sameFile(t, active, f) {
			f.Close()
			continue
		}
		if active != nil {
			count() // what was written before the cut
			active.Close()
		}
		active = f
	}
	active.Close()
}

func sameFile(t testing.TB, a, b *os.File) bool {
	t.Helper()
	x, err := a.Stat()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// turn is what one program took in one round.
type turn struct {
	took       time.Duration
	own, clamd time.Duration // processor time
}

// besides reports a round of ours and of a peer, for n files.
func besides(b *testing.B, n int, ours, peer turn) {
	b.Helper()
	us := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(n) }
	b.ReportMetric(float64(n)/ours.took.Seconds(), "ours/s")
	b.ReportMetric(float64(n)/peer.took.Seconds(), "peer/s")
	b.ReportMetric(peer.took.Seconds()/ours.took.Seconds(), "ratio")
	b.ReportMetric(us(ours.own), "ours-us")
	b.ReportMetric(us(peer.own), "peer-us")
	b.ReportMetric(us(ours.clamd), "clamd-us")
	b.ReportMetric(us(peer.own+peer.clamd)/us(ours.own+ours.clamd), "cpu-ratio")
}

// clamdscan runs the peer over dir on clamd.
func clamdscan(b *testing.B, d *scantest.RealClamd, dir string, tcp bool, args ...string) turn {
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
	before, begun := spentBy(b, d.PID()), time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("clamdscan %q: %v", args, err)
	}
	return turn{time.Since(begun), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), spentBy(b, d.PID()) - before}
}

// whole runs certpush at its defaults over dir, from the start of the process until the
// last of n outcomes is in the ledger.
func whole(b *testing.B, program string, d *scantest.RealClamd, dir, clamd string, n int) turn {
	b.Helper()
	file, addr := pushing(b, dir, clamd)
	before, begun := spentBy(b, d.PID()), time.Now()
	r := started(b, program, addr, "run", "-c", file)
	r.drained()
	recorded(b, file, n)
	t := turn{time.Since(begun), r.spent(), spentBy(b, d.PID()) - before}
	r.judged(n)
	r.stop()
	return t
}

// bare has the files of dir judged over two connections that are never idle: no journal,
// no hash, no ledger. Its time is the limit that the protocol sets.
func bare(b *testing.B, dir, addr string, n int) time.Duration {
	b.Helper()
	paths := make(chan string, n)
	for i := range n {
		paths <- filepath.Join(dir, strconv.Itoa(i%100), strconv.Itoa(i))
	}
	close(paths)
	network, at, _ := strings.Cut(addr, ":")
	begun := time.Now()
	var all errgroup.Group
	for range 2 {
		all.Go(func() error { return bareSession(network, at, paths) })
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun)
}

func bareSession(network, at string, paths <-chan string) error {
	c, err := net.Dial(network, at)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("zIDSESSION\x00")); err != nil {
		return err
	}
	places := make(chan struct{}, 32) // unanswered at once
	sent := make(chan int, 1)
	var both errgroup.Group
	both.Go(func() error {
		n := 0
		for path := range paths {
			places <- struct{}{}
			if err := handOver(c, path); err != nil {
				return err
			}
			n++
		}
		sent <- n
		return nil
	})
	both.Go(func() error {
		answers := bufio.NewReader(c)
		for n, total := 0, -1; n != total; {
			select {
			case total = <-sent:
				continue
			case <-places:
			}
			if _, err := answers.ReadString(0); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return both.Wait()
}

// handOver sends one file: by its descriptor over a Unix socket, as a stream over tcp.
func handOver(c net.Conn, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if u, is := c.(*net.UnixConn); is {
		_, _, err = u.WriteMsgUnix([]byte("zFILDES\x00x"), syscall.UnixRights(int(f.Fd())), nil)
		return err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte("zINSTREAM\x00"), uint32(len(text)))
	_, err = c.Write(append(append(head, text...), 0, 0, 0, 0))
	return err
}

// BenchmarkClamd has a tree judged by a real clamd: by clamdscan, and by the program,
// which journals, hashes and records each file as well.
func BenchmarkClamd(b *testing.B) {
	for _, row := range []struct {
		name    string
		n, size int
		tcp     bool
		peer    string
	}{
		{"unix", few(10_000), 4 << 10, false, "--fdpass"},
		{"tcp", few(10_000), 4 << 10, true, "--stream"},
		{"large", few(200), 5 << 20, false, "--fdpass"},
	} {
		b.Run(row.name, func(b *testing.B) {
			program, dir, d := built(b), filled(b, row.n, row.size), scantest.Clamd(b, benchClamd...)
			addr := d.UnixAddr
			if row.tcp {
				addr = d.TCPAddr
			}
			for range b.N {
				d.Restart() // so its cache of clean files is empty for each run
				peer := clamdscan(b, d, dir, row.tcp, "--multiscan", row.peer)
				d.Restart()
				plain := bare(b, dir, addr, row.n)
				d.Restart()
				besides(b, row.n, whole(b, program, d, dir, addr, row.n), peer)
				b.ReportMetric(peer.took.Seconds()/plain.Seconds(), "bare-ratio")
			}
		})
	}
}
