// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// second is a pipeline in its own process, so that a test can halt it, set its limits
// and measure its memory. The process runs the test's own binary, for the same test.
type second struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	told  chan struct{} // closed when it has told everything

	mu   sync.Mutex
	outs map[string]map[string]int // by path, then outcome and reason: how often
	all  int
	sums map[string]float64 // metrics at the end, and "peak": the largest memory in bytes
	logs bytes.Buffer
}

const (
	secondDrop  = "CERTPUSH_TEST_SECOND_DROP"
	secondState = "CERTPUSH_TEST_SECOND_STATE"
	secondLimit = "CERTPUSH_TEST_SECOND_WATCHES"
	secondHalf  = "CERTPUSH_TEST_SECOND_HALF"
	secondBy    = "CERTPUSH_TEST_SECOND_ENGINE"
)

// full returns the size of a test: soak if SOAK is set, otherwise short, because soak
// takes too long for each day.
func full(short, soak int) int {
	if os.Getenv("SOAK") != "" {
		return soak
	}
	return short
}

// start2 starts a second process over drop. set may change its command.
func start2(t *testing.T, drop string, set ...func(*exec.Cmd)) *second {
	t.Helper()
	s := &second{t: t, told: make(chan struct{}), outs: map[string]map[string]int{}, sums: map[string]float64{}}
	s.cmd = exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	s.cmd.Env = append(os.Environ(), secondDrop+"="+drop, secondState+"="+filepath.Join(t.TempDir(), "state"))
	for _, f := range set {
		f(s.cmd)
	}
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.ExtraFiles = []*os.File{to}
	s.cmd.Stderr = logOf{s}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	err = s.cmd.Start()
	to.Close()
	if err != nil {
		from.Close()
		t.Skipf("no second process to be had here: %v", err)
	}
	go s.hear(from)
	t.Cleanup(func() {
		s.cmd.Process.Kill() // if the test ended early
		<-s.told
		if t.Failed() {
			t.Logf("log of the second process:\n%s", s.logged())
		}
	})
	return s
}

// logOf writes the log of the second process.
type logOf struct{ s *second }

func (l logOf) Write(b []byte) (int, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.logs.Write(b)
}

// hear reads what serve tells.
func (s *second) hear(from *os.File) {
	defer close(s.told)
	defer from.Close()
	for in := bufio.NewScanner(from); in.Scan(); {
		kind, rest, _ := strings.Cut(in.Text(), " ")
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			s.t.Errorf("the second process told %q", in.Text())
			continue
		}
		text, _ := strconv.Unquote(quoted) // serve quoted it
		value := strings.TrimPrefix(rest[len(quoted):], " ")
		s.mu.Lock()
		if kind == "sum" {
			s.sums[text], err = strconv.ParseFloat(value, 64)
		} else {
			if s.outs[text] == nil {
				s.outs[text] = map[string]int{}
			}
			s.outs[text][value]++
			s.all++
		}
		s.mu.Unlock()
		if err != nil {
			s.t.Errorf("the second process told %q", in.Text())
		}
	}
}

func (s *second) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs.String()
}

// await waits for n outcomes.
func (s *second) await(n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d outcomes", n), 5*time.Millisecond, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.all >= n
	})
}

// until waits until ok returns true. It calls ok once in each time of every.
func (s *second) until(what string, every time.Duration, ok func() bool) {
	s.t.Helper()
	patiently(s.t, what, every, func() bool {
		select {
		case <-s.told:
			s.t.Fatalf("the second process ended; waited for: %s", what)
		default:
		}
		return ok()
	})
}

// patiently is waitFor with a longer limit, for a busy machine.
func patiently(t *testing.T, what string, every time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	end := time.After(time.Duration(full(180, 3600)) * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// sweep asks for a sweep of all trees.
func (s *second) sweep() {
	s.t.Helper()
	if _, err := io.WriteString(s.stdin, "sweep\n"); err != nil {
		s.t.Fatal(err)
	}
}

// halt stops the second process cleanly and returns its metrics.
func (s *second) halt() map[string]float64 {
	s.t.Helper()
	s.stdin.Close()
	<-s.told
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("the second process: %v\n%s", err, s.logged())
	}
	return maps.Clone(s.sums)
}

// missed returns how many files are below drop, and how many of them have no outcome
// done. With once it fails the test unless each file has exactly one outcome, done.
func (s *second) missed(drop string, once bool) (files, missed int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := filepath.WalkDir(drop, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		done := s.outs[path]["done"]
		if done == 0 {
			missed++
		}
		if once && (done != 1 || len(s.outs[path]) > 1) && missed < 10 {
			s.t.Errorf("%q: %v, want done once", path, s.outs[path])
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files, missed
}

// serve is the second process: it runs until its input ends, and returns true. In the
// first process it returns false at once.
func serve(t *testing.T) bool {
	drop := os.Getenv(secondDrop)
	if drop == "" {
		return false
	}
	if limit := os.Getenv(secondLimit); limit != "" {
		if err := os.WriteFile("/proc/sys/user/max_inotify_watches", []byte(limit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := bufio.NewWriter(os.NewFile(3, "told"))
	var mu sync.Mutex
	metrics := prometheus.NewRegistry()
	p, err := New(Config{
		State: os.Getenv(secondState), Trees: []config.Tree{{Path: drop, Name: "drop", Engine: os.Getenv(secondBy)}}, Journal: config.Journal{MinFree: -1}, Registry: metrics,
		Half:     map[string]config.Half{"producer": config.ProducerOnly}[os.Getenv(secondHalf)],
		Scanners: []config.Scanner{{Name: "none", Type: "discard", Workers: 16}},
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Outcome: func(o sample.Outcome) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(out, "out %q %s\n", o.Path, strings.TrimSpace(o.Outcome+" "+map[bool]string{true: o.Reason}[o.Outcome != sample.Done]))
			out.Flush()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); { // each line asks for a sweep
			if err := p.Sweep(""); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for name, value := range sums(t, metrics) {
		fmt.Fprintf(out, "sum %q %g\n", name, value)
	}
	fmt.Fprintf(out, "sum %q %d\n", "peak", peak(t))
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	return true
}

// sums returns the counters by name and value of the last label.
func sums(t *testing.T, metrics prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := ""
			for _, l := range m.GetLabel() {
				if l.GetName() != "tree" && l.GetName() != "scanner" {
					label = " " + l.GetValue()
				}
			}
			all[f.GetName()+label] += m.GetCounter().GetValue()
		}
	}
	return all
}

// peak returns the largest memory that this process had, in bytes.
func peak(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// producerOnly makes the second process run no consumer.
func producerOnly(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, secondHalf+"=producer") }

// byFanotify makes the second process hear the tree by the engine fanotify.
func byFanotify(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, secondBy+"=fanotify") }

// ownNamespace gives the second process its own user namespace, with a limit of
// watches.
func ownNamespace(watches int) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", secondLimit, watches))
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
}
