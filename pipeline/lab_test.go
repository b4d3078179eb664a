// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// lab is a pipeline with its own folders.
type lab struct {
	t    *testing.T
	c    Config
	drop string

	mu   sync.Mutex
	outs []sample.Outcome
	logs bytes.Buffer

	meddling func(scan.File) // set by meddle

	p    *Pipeline
	stop context.CancelFunc
	done chan error
}

func newLab(t *testing.T, set ...func(*Config)) *lab {
	l := &lab{t: t, drop: t.TempDir()}
	tree := config.Tree{Path: l.drop, Name: "drop", Settle: 20 * time.Millisecond, Engine: labEngine}
	l.c = Config{State: filepath.Join(t.TempDir(), "state"), Trees: []config.Tree{tree}, Journal: config.Journal{MinFree: -1}}
	l.c.Outcome = func(o sample.Outcome) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.outs = append(l.outs, o)
	}
	l.meddling, l.c.scanner = func(scan.File) {}, l.meddled
	l.c.Log = slog.New(slog.NewTextHandler(&guarded{l: l}, nil))
	for _, f := range set {
		f(&l.c)
	}
	t.Cleanup(l.halt)
	return l
}

// guarded writes the lab's log.
type guarded struct{ l *lab }

func (g *guarded) Write(b []byte) (int, error) {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	return g.l.logs.Write(b)
}

func (l *lab) logged() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logs.String()
}

func (l *lab) start() {
	l.t.Helper()
	p, err := New(l.c)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.p, l.stop, l.done = p, stop, make(chan error, 1)
	go func() { l.done <- p.Run(ctx) }()
}

// halt stops the pipeline and waits until it has stopped.
func (l *lab) halt() {
	if l.stop == nil {
		return
	}
	l.stop()
	l.stop = nil
	select {
	case err := <-l.done:
		if err != nil {
			l.t.Errorf("run: %v", err)
		}
	case <-time.After(patience):
		l.t.Error("the pipeline did not stop")
	}
	if l.t.Failed() {
		l.t.Log(l.logged())
	}
}

func (l *lab) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.drop, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// symlink makes a link. It returns false if that cannot be done here: on Windows it
// takes a right, and Wine says that it made one and makes none.
func symlink(to, path string) bool {
	if os.Symlink(to, path) != nil {
		return false
	}
	_, err := os.Lstat(path)
	return err == nil
}

// patience is how long a test waits for what must come. Other programs may be at work.
const patience = 90 * time.Second

// until waits until ok returns true.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	waitFor(l.t, what, ok)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func (l *lab) outcomes() []sample.Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.outs)
}

// await waits for n outcomes and returns them.
func (l *lab) await(n int) []sample.Outcome {
	l.t.Helper()
	l.until(fmt.Sprintf("%d outcomes, have %d", n, len(l.outcomes())), func() bool { return len(l.outcomes()) >= n })
	return l.outcomes()
}

// swept waits until the sweep at start has ended.
func (l *lab) swept() {
	l.t.Helper()
	l.until("the sweep at start", func() bool {
		s := l.p.Status()
		return len(s.Trees) > 0 && s.Trees[0].LastSweep != nil
	})
}

// lines returns the samples of all journal lines of a lane.
func (l *lab) lines(lane string) []sample.Sample {
	l.t.Helper()
	base := "monitor.log"
	if lane == "backlog" {
		base = "backlog.log"
	}
	dir := l.c.Journal.Dir
	if dir == "" {
		dir = filepath.Join(l.c.State, "journal")
	}
	paths, _ := filepath.Glob(filepath.Join(dir, base+".*.log"))
	slices.Sort(paths)
	var all []sample.Sample
	for _, path := range append(paths, filepath.Join(dir, base)) {
		text, err := read(path)
		if err != nil && !os.IsNotExist(err) {
			l.t.Fatal(err)
		}
		for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
			if s, err := sample.ParseLine(in.Bytes()); err == nil {
				all = append(all, s)
			}
		}
	}
	return all
}

// ledgerLines returns all lines of the ledger.
func (l *lab) ledgerLines() []map[string]any {
	l.t.Helper()
	paths, _ := filepath.Glob(filepath.Join(l.c.State, "ledger", "verdicts.log*"))
	var all []map[string]any
	for _, path := range paths {
		text, err := read(path)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var m map[string]any
			if line != "" && json.Unmarshal([]byte(line), &m) == nil {
				all = append(all, m)
			}
		}
	}
	return all
}

// read is os.ReadFile, but it never prevents a cut: on Windows only a file that os.Root
// opened can be renamed while it is open.
func read(path string) ([]byte, error) {
	f, err := os.OpenInRoot(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func outcomesOf(all []sample.Outcome, path string) []sample.Outcome {
	return slices.DeleteFunc(slices.Clone(all), func(o sample.Outcome) bool { return o.Path != path })
}

// eicar assembles the test file at run time.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
}

// runIt runs p until stop is called. stop returns when p has stopped.
func runIt(t testing.TB, p *Pipeline) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := p.Run(ctx)
		if ctx.Err() == nil {
			t.Errorf("the pipeline ended by itself: %v", err)
		}
		ended <- err
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// noticed returns a sample that an event noticed.
func noticed(path string, size int64, mtime watch.Time) sample.Sample {
	s := sample.OfFile(path, size, mtime)
	s.Seen, s.Via = time.Unix(1700000000, 123456789).UTC(), sample.ViaEvent
	return s
}
