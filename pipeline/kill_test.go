// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

const childEnv = "CERTPUSH_TEST_CHILD"

// TestMain lets the test binary be the service that TestKill9 kills.
func TestMain(m *testing.M) {
	if addr := os.Getenv(childEnv); addr != "" {
		c := killConfig(os.Args[1], os.Args[2], addr)
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		p, err := New(c)
		if err == nil {
			err = p.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const killWorkers = 3

func killConfig(state, drop, addr string) Config {
	c := Config{State: state, Trees: []config.Tree{{Path: drop, Settle: 20 * time.Millisecond, Engine: "fsnotify"}}, Journal: config.Journal{MinFree: -1, CutEvery: 300 * time.Millisecond, CutSize: 4 << 10}}
	clamd(addr, func(s *config.Scanner) { s.Workers = killWorkers })(&c)
	return c
}

// arrive returns when n samples have arrived, or a thousand more than before. It gives
// up when none arrives for 30 s.
func arrive(d *scantest.Server, before, n int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, at := before, time.Now()
	for time.Since(at) < 30*time.Second {
		<-tick.C
		have := len(d.Received())
		if have > last {
			last, at = have, time.Now()
		}
		if have >= max(n, before+1) && have > before || have >= before+1000 {
			return
		}
	}
}

// tellStory logs what the state says about a file that did not arrive.
func tellStory(t *testing.T, c Config, path string) {
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	story, err := p.Why(context.Background(), path)
	t.Logf("%s: %+v %v", path, story, err)
	proof, err := p.Verify(context.Background(), false)
	t.Logf("verify: %+v %v", proof, err)
}

// killFor returns how long TestKill9 goes on: as long as SOAK says, otherwise a minute
// in CI and ten seconds elsewhere.
func killFor(t *testing.T) time.Duration {
	text := os.Getenv("SOAK")
	switch {
	case text == "" && os.Getenv("CI") == "true" && !testing.Short():
		return time.Minute
	case text == "":
		return 10 * time.Second
	}
	long, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return long
}

// TestKill9 kills the service again and again while files are dropped. The scanner
// counts: no sample is lost, and at most kills x workers are repeated. SOAK says how
// long it goes on.
func TestKill9(t *testing.T) {
	t.Parallel()
	long := killFor(t)
	d := scantest.Start(t, scantest.Networks()[0])
	d.SetDelay(2 * time.Millisecond)
	state, drop := filepath.Join(t.TempDir(), "state"), t.TempDir()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], state, drop)
		// It runs beside other tests, on one processor or on two.
		cmd.Env = append(os.Environ(), childEnv+"="+d.Addr(), fmt.Sprintf("GOMAXPROCS=%d", 1+rand.IntN(2)))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := time.Now().Add(long)
	written := make(chan int)
	go func() {
		n := 0
		// Drop handfuls of files, so that some are always on their way. A steady stream
		// would make the sweep of each start longer, and take the processor from other
		// tests.
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for ; time.Now().Before(end); n++ {
			if n%8 == 0 {
				<-pace.C
			}
			dir := filepath.Join(drop, fmt.Sprint(n%50))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte(fmt.Sprintf("sample %d", n)), 0o600); err != nil {
				t.Error(err)
			}
		}
		written <- n
	}()
	kills := 0
	for time.Now().Before(end) {
		cmd := start()
		// Some are killed while they open the state, some in the middle of the work.
		wait := time.NewTimer(time.Duration(50+rand.IntN(700)) * time.Millisecond)
		<-wait.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed
		kills++
	}
	n := <-written
	cmd := start()
	missing := -1
	defer func() {
		cmd.Process.Kill() // the test is over
		cmd.Wait()         // it was killed
		if missing >= 0 {
			t.Logf("%d kills, %d files, the first that did not arrive is %d", kills, n, missing)
			tellStory(t, killConfig(state, drop, d.Addr()), filepath.Join(drop, fmt.Sprint(missing%50), fmt.Sprint(missing)))
		}
	}()
	have := map[[32]byte]int{}
	all := func() bool {
		clear(have)
		for _, r := range d.Received() {
			have[r.SHA256]++
		}
		missing = -1
		for i := range n {
			if have[sha256.Sum256(fmt.Appendf(nil, "sample %d", i))] == 0 {
				missing = i
				return false
			}
		}
		return true
	}
	// On a busy machine most samples may still wait. As long as some arrive, we wait.
	for before := -1; !all(); {
		if before == len(d.Received()) {
			t.Fatalf("30 s went by and nothing arrived: %d files, %d pushes", n, before)
		}
		before = len(d.Received())
		arrive(d, before, n)
	}
	repeated := 0
	for i := range n {
		repeated += have[sha256.Sum256(fmt.Appendf(nil, "sample %d", i))] - 1
	}
	t.Logf("%d files, %d kills, lost 0, repeated %d (at most %d)", n, kills, repeated, kills*killWorkers)
	if repeated > kills*killWorkers {
		t.Errorf("repeated %d, more than %d kills x %d workers", repeated, kills, killWorkers)
	}
}
