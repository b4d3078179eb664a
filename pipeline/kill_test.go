// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
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
		c := killConfig(os.Args[1], os.Args[2], addr, os.Args[3])
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

const (
	killWorkers = 3
	killSweep   = 5 * time.Second // an engine that hears nothing finds files by it
)

func killConfig(state, drop, addr, engine string) Config {
	c := Config{State: state, Trees: []config.Tree{{Path: drop, Settle: 20 * time.Millisecond, Engine: engine, Sweep: killSweep}}, Journal: config.Journal{MinFree: -1, CutEvery: 300 * time.Millisecond, CutSize: 4 << 10}}
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

// TestKill9 kills the service again and again while files are dropped. Counted
// at the scanner's end: lost 0, repeated at most kills x workers; and the proof says the
// same. SOAK names how long it goes on, and lets it go over every engine.
func TestKill9(t *testing.T) {
	t.Parallel()
	engines := []string{labEngine}
	if os.Getenv("SOAK") != "" {
		engines, _ = Engines()
	}
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			if engine == "auto" {
				t.Skip("it is one of the others")
			}
			killAgainAndAgain(t, engine)
		})
	}
}

// roughly does with the files of drop what happens to files beside being dropped: one is
// renamed, appended to, deleted or has new rights, or its folder is moved away or back.
func roughly(t *testing.T, drop string, n int) {
	dir := filepath.Join(drop, fmt.Sprint(rand.IntN(50)))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return
	}
	path := filepath.Join(dir, entries[rand.IntN(len(entries))].Name())
	switch rand.IntN(5) {
	case 0:
		err = os.Rename(path, fmt.Sprintf("%s-%d", path, n))
	case 1:
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, err = fmt.Fprintf(f, " and %d", n)
			err = errors.Join(err, f.Close())
		}
	case 2:
		err = os.Remove(path)
	case 3:
		err = os.Chmod(path, 0o600|os.FileMode(rand.IntN(2))<<5)
	case 4:
		away := dir + ".away"
		if err = os.Rename(dir, away); err == nil {
			err = os.Rename(away, dir)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// dropUntil drops files until end and closes done. Handfuls, so that some are always on
// their way: a steady stream would make the sweep of each start longer, and take the
// processor from other tests.
func dropUntil(t *testing.T, end time.Time, drop string, rough bool, done chan<- struct{}) {
	defer close(done)
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for n := 0; time.Now().Before(end); n++ {
		if n%8 == 0 {
			<-pace.C
		}
		dir := filepath.Join(drop, fmt.Sprint(n%50))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), fmt.Appendf(nil, "sample %d", n), 0o600); err != nil {
			t.Error(err)
		}
		if rough && n%4 == 0 {
			roughly(t, drop, n)
		}
	}
}

// sumsBelow returns the SHA-256 of each file below dir.
func sumsBelow(t *testing.T, dir string) map[string][32]byte {
	sums := map[string][32]byte{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		sums[path] = sha256.Sum256(text)
		return err
	}))
	return sums
}

func killAgainAndAgain(t *testing.T, engine string) {
	end, rough := time.Now().Add(killFor(t)), os.Getenv("SOAK") != ""
	d := scantest.Start(t, scantest.Networks()[0])
	d.SetDelay(2 * time.Millisecond)
	state, drop := filepath.Join(t.TempDir(), "state"), t.TempDir()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], state, drop, engine)
		// It runs beside other tests, on one processor or on two.
		cmd.Env = append(os.Environ(), childEnv+"="+d.Addr(), fmt.Sprintf("GOMAXPROCS=%d", 1+rand.IntN(2)))
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it says that it was killed
	}
	dropped := make(chan struct{})
	go dropUntil(t, end, drop, rough, dropped)
	kills := 0
	for ; time.Now().Before(end); kills++ {
		cmd := start()
		// Some are killed while they open the state, some in the middle of the work.
		wait := time.NewTimer(time.Duration(50+rand.IntN(700)) * time.Millisecond)
		<-wait.C
		kill(cmd)
	}
	<-dropped
	cmd := start()
	have, missing := awaitSums(d, sumsBelow(t, drop))
	kill(cmd) // a last time
	if missing != "" {
		tellStory(t, killConfig(state, drop, d.Addr(), engine), missing)
		t.Fatalf("30 s went by and nothing arrived: %d kills, %d pushes, the first file that did not arrive is %s", kills, len(d.Received()), missing)
	}
	sums := sumsBelow(t, drop)
	p, err := New(killConfig(state, drop, d.Addr(), engine))
	must(t, err)
	if v, err := p.Verify(t.Context(), false); err != nil || !v.Proven() || v.Files != int64(len(sums)) {
		t.Errorf("all %d files arrived, and the proof is %+v %v", len(sums), v, err)
	}
	repeated := 0
	for _, sum := range sums {
		repeated += have[sum] - 1
	}
	t.Logf("%d files, %d kills, lost 0, repeated %d", len(sums), kills, repeated)
	if !rough && repeated > kills*killWorkers { // new rights and names are pushed again, too
		t.Errorf("repeated %d, more than %d kills x %d workers", repeated, kills, killWorkers)
	}
}

// awaitSums waits until the scanner has received all of sums, as long as anything
// arrives. It returns how often each was received, and a file that was not.
func awaitSums(d *scantest.Server, sums map[string][32]byte) (have map[[32]byte]int, missing string) {
	have = map[[32]byte]int{}
	for before := -1; ; {
		clear(have)
		received := d.Received()
		for _, r := range received {
			have[r.SHA256]++
		}
		missing = ""
		for path, sum := range sums {
			if have[sum] == 0 {
				missing = path
				break
			}
		}
		if missing == "" || before == len(received) {
			return have, missing
		}
		before = len(received)
		arrive(d, before, len(sums))
	}
}
