// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests run the program itself under load; `make soak` runs the last one.

// built builds the program as a release does, and returns its path.
func built(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certpush")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return path
}

// running is a certpush process.
type running struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *bufio.Scanner
	rest chan struct{} // closed at the end of the log; nil: it is not drained yet
	addr string
}

// configured writes a configuration for a tree and the scanner discard. It returns the
// path of the file and the address of the admin endpoint.
func configured(t testing.TB, tree string) (file, addr string) {
	t.Helper()
	port, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	addr = "127.0.0.1:" + strconv.Itoa(port)
	dir := t.TempDir()
	file = filepath.Join(dir, "certpush.toml")
	text := fmt.Sprintf("state = %q\n[admin]\nlisten = %q\n[journal]\nmin_free = \"0\"\n[[watch]]\npath = %q\n[scanner.none]\ntype = \"discard\"\nworkers = 16\n", filepath.Join(dir, "state"), addr, tree)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, addr
}

func started(t testing.TB, program, addr string, args ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: exec.Command(program, args...), addr: addr}
	out, err := r.cmd.StderrPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.log = bufio.NewScanner(out)
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

// says waits for a line of the log that matches, and returns its groups.
func (r *running) says(pattern string) []string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	for r.log.Scan() {
		if found := re.FindStringSubmatch(r.log.Text()); found != nil {
			return found
		}
	}
	r.t.Fatalf("the log ended without %q", pattern)
	return nil
}

// memory returns the present and the largest resident memory in MB.
func (r *running) memory() (now, peak float64) {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		if len(w) < 2 || w[0] != "VmRSS:" && w[0] != "VmHWM:" {
			continue
		}
		kb, err := strconv.ParseFloat(w[1], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		if w[0] == "VmRSS:" {
			now = kb / 1e3
		} else {
			peak = kb / 1e3
		}
	}
	return now, peak
}

// stop stops the process as a manager does.
func (r *running) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	<-r.drained()
	if err := r.cmd.Wait(); err != nil {
		r.t.Error(err)
	}
}

// drained reads what is left of the log, in the background: a full pipe would block the
// process. The channel is closed at the log's end.
func (r *running) drained() <-chan struct{} {
	if r.rest == nil {
		r.rest = make(chan struct{})
		go func() {
			defer close(r.rest)
			for r.log.Scan() {
				continue
			}
		}()
	}
	return r.rest
}

// ready waits until /readyz answers that it is ready.
func (r *running) ready(within time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+"/readyz", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if a, err := http.DefaultClient.Do(q); err == nil {
			io.Copy(io.Discard, a.Body)
			a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("not ready within %s", within)
		}
	}
}

// judged waits until n samples are done. It fails the test if a sample has another
// outcome.
func (r *running) judged(n int) {
	r.t.Helper()
	var s struct {
		Scanners []struct{ Done, Gone, Skipped, Dead, Waiting int }
	}
	late := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		a, err := http.Get("http://" + r.addr + "/api/v1/status")
		if err != nil {
			r.t.Fatal(err)
		}
		err = json.NewDecoder(a.Body).Decode(&s)
		a.Body.Close()
		if err != nil || len(s.Scanners) != 1 {
			r.t.Fatalf("%+v %v", s, err)
		}
		c := s.Scanners[0]
		if c.Gone+c.Skipped+c.Dead > 0 || c.Done > n {
			r.t.Fatalf("%d files: %+v", n, c)
		}
		if c.Done == n && c.Waiting == 0 {
			return
		}
		if time.Now().After(late) {
			r.t.Fatalf("%d files have no outcome: %+v", n-c.Done, c)
		}
	}
}

// TestIdleConnectionsDoNotStopDelivery: while a thousand connections send no whole
// request, a file gets its outcome.
func TestIdleConnectionsDoNotStopDelivery(t *testing.T) {
	tree := t.TempDir()
	file, addr := configured(t, tree)
	r := started(t, built(t), addr, "run", "-c", file)
	r.ready(time.Minute)
	for i := range 1000 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 { // half of them have sent a part of a request
			if _, err := c.Write([]byte("POST /api/v1/sweep HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "a"), []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	late := time.After(5 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ledger := filepath.Join(filepath.Dir(file), "state", "ledger", "verdicts.log")
	for {
		if text, err := os.ReadFile(ledger); err == nil && strings.Contains(string(text), tree+"/a") {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the file has no outcome")
		}
	}
	r.ready(5 * time.Minute) // a client that does send a request is answered
	r.stop()
}

// TestReloadUnderLoadLosesNothing: files are dropped while the service reloads its
// configuration again and again, each time with another tree, other workers and another
// rate. Each file has exactly one outcome.
func TestReloadUnderLoadLosesNothing(t *testing.T) {
	tree, program := t.TempDir(), built(t)
	file, addr := configured(t, tree)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := started(t, program, addr, "run", "-c", file)
	r.ready(time.Minute)
	r.drained()
	const n, reloads = 3000, 6
	for i := range n {
		if err := os.WriteFile(filepath.Join(tree, strconv.Itoa(i)), []byte(strconv.Itoa(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		if i%(n/reloads) != n/reloads/2 {
			continue
		}
		k := i / (n / reloads)
		other := strings.Replace(string(text), "workers = 16", fmt.Sprintf("workers = %d\nrate = \"%d/s\"", k+1, 100_000+k), 1)
		other += fmt.Sprintf("[[watch]]\npath = %q\n[log]\nlevel = %q\n", filepath.Join(t.TempDir(), "other"), []string{"debug", "info"}[k%2])
		if err := os.WriteFile(file, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if text, err := exec.Command(program, "reload", "-c", file).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, text)
		}
	}
	ledger := filepath.Join(filepath.Dir(file), "state", "ledger", "verdicts.log")
	outcomes := func() map[string]int {
		text, err := os.ReadFile(ledger)
		if err != nil {
			return nil
		}
		count := map[string]int{}
		for _, m := range regexp.MustCompile(`"path":"([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			count[m[1]]++
		}
		return count
	}
	late, tick := time.After(time.Minute), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for len(outcomes()) < n {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d of %d files have an outcome", len(outcomes()), n)
		}
	}
	for path, times := range outcomes() {
		if times != 1 {
			t.Errorf("%s has %d outcomes", path, times)
		}
	}
}

// TestMemoryStaysFlat drops 200 files a second for as long as SOAK says. Each must have
// its outcome, because a service that does nothing stays flat too.
func TestMemoryStaysFlat(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Skip("SOAK is not set: make soak runs this, for an hour by SOAK=1h")
	}
	const filling = 3 * time.Minute // caches and pools fill during this time
	if span < 2*filling {
		t.Skipf("within %v nothing is flat yet: say SOAK=10m or more", span)
	}
	tree := t.TempDir()
	file, addr := configured(t, tree)
	r := started(t, built(t), addr, "run", "-c", file)
	r.ready(time.Minute)
	r.drained()
	pace, look := time.NewTicker(5*time.Millisecond), time.NewTicker(span/20)
	defer pace.Stop()
	defer look.Stop()
	end := time.After(span)
	var all []float64
	for i := 0; ; {
		select {
		case <-end:
			all = all[int(filling*time.Duration(len(all))/span):]
			if low, high := slices.Min(all), slices.Max(all); high > 1.2*low {
				t.Errorf("resident memory went from %.0f to %.0f MB: %.0f", low, high, all)
			}
			t.Logf("%d files, resident MB: %.0f", i, all)
			r.judged(i)
			return
		case <-look.C:
			now, _ := r.memory()
			all = append(all, now)
		case <-pace.C:
			// The names repeat, so that the tree itself does not grow.
			path := filepath.Join(tree, strconv.Itoa(i%20_000))
			if err := os.WriteFile(path, []byte(strconv.Itoa(i)), 0o644); err != nil {
				t.Fatal(err)
			}
			i++
		}
	}
}
