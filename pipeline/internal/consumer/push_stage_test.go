// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// stage runs one script: real workers, a scripted scanner and scripted lines.
type stage struct {
	dir     string
	begun   time.Time
	scanner config.Scanner
	grace   time.Duration
	trees   []config.Tree
	apart   bool
	keyed   bool

	in      *told
	actor   *actor
	workers *workers
	stop    context.CancelFunc // nil: nothing runs
	running sync.WaitGroup
	files   int // how many were written
	lines   int // how many were handed out

	mu     sync.Mutex // guards the fields below
	trace  []string
	faults map[string]string        // by file: held, unreadable or taken
	slow   map[string]time.Duration // by file
	ends   map[string]int64         // by file
	short  bool                     // there are no descriptors
}

func newStage(dir string) *stage {
	s := &stage{
		dir: dir, begun: time.Now(), grace: 8 * time.Second, trees: []config.Tree{{Path: dir, SettleLimit: time.Hour}},
		scanner: config.Scanner{Name: "s", Type: "scripted", Workers: 1, Tries: 3, MaxSize: scan.Small, Sight: 10 * time.Minute, BackoffFirst: time.Second, BackoffMax: 5 * time.Minute},
		faults:  map[string]string{}, slow: map[string]time.Duration{}, ends: map[string]int64{},
	}
	s.in = &told{s: s, scripted: &scripted{live: make(chan *push, 100), backlog: make(chan *push, 100)}}
	s.actor = &actor{s: s, up: true, canary: "well", pinged: "up", answers: map[string][]string{}, takes: map[string]time.Duration{}, open: map[string]bool{}, has: map[string]bool{}, last: map[string]string{}}
	return s
}

// now returns the time since the script began.
func (s *stage) now() string { return time.Since(s.begun).String() }

// say adds a line to the trace.
func (s *stage) say(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, fmt.Sprintf("%-11s ", s.now())+fmt.Sprintf(format, a...))
}

// name returns the name that the script has for a path. It returns false if there is
// none.
func (s *stage) name(path string) (string, bool) {
	rel, err := filepath.Rel(s.dir, path)
	return filepath.ToSlash(rel), err == nil && filepath.IsLocal(rel)
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

// show returns the trace since its last call, and the states of the pushes without an
// outcome.
func (s *stage) show() string {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	last, n := "", 0
	tell := func(next string) {
		switch {
		case n > 1:
			s.say("%d times %s", n, last)
		case n == 1:
			s.say("%s", last)
		}
		last, n = next, 0
	}
	for _, p := range s.in.open {
		name, _ := s.name(p.sample.Path)
		if text := name + " is " + s.state(name, p); text != last {
			tell(text)
		}
		n++
	}
	tell("")
	if s.workers != nil {
		// This takes its lock. So our reads come before the writes of the goroutines that
		// wait for it.
		s.workers.health.state()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.trace = nil }()
	return strings.Join(s.trace, "\n")
}

// state names p's state. All goroutines must be waiting.
func (s *stage) state(name string, p *push) string {
	waits := false
	if s.workers != nil {
		t := s.workers.turns
		t.mu.Lock()
		defer t.mu.Unlock()
		if slices.Contains(t.parked, p) {
			return "parked"
		}
		waits = slices.Contains(t.retries, p)
	}
	s.actor.mu.Lock()
	defer s.actor.mu.Unlock()
	switch {
	case waits:
	case p.trial.began.IsZero():
		return "queued"
	case s.actor.has[name]:
		return "in session"
	case s.actor.open[name]:
		return "open"
	default:
		return whyItWaits(p, s.actor.last[name]) + ", it is next"
	}
	return whyItWaits(p, s.actor.last[name]) + ", due at " + p.trial.due.Sub(s.begun).String()
}

// whyItWaits names the state of a push that waits. last is the scanner's last answer for
// its file.
func whyItWaits(p *push, last string) string {
	switch {
	case !p.trial.busy.IsZero():
		return "held"
	case p.trial.proof.by != nothing:
		return "tried"
	case last == "void" || last == "sick":
		return last
	case last == "busy" || last == "down" || !p.trial.alone:
		return "later"
	}
	return "alone"
}

// do does one command.
func (s *stage) do(words []string) error {
	args := words[1:]
	if f, is := started[words[0]]; is && len(args) == 0 {
		if s.workers == nil {
			return errors.New("nothing was started")
		}
		f(s)
		return nil
	}
	if f, is := withName[words[0]]; is && len(args) > 0 {
		return f(s, args[0], args[1:])
	}
	switch words[0] {
	case "start":
		return s.start()
	case "apart":
		s.apart = true
		return nil
	}
	return errors.New("there is no such command")
}

// started holds the commands that need a start and take no argument.
var started = map[string]func(s *stage){
	"pause":  func(s *stage) { s.workers.health.pause(true) },
	"resume": func(s *stage) { s.workers.health.pause(false) },
	"stop":   func(s *stage) { s.stop() },
}

// withName holds the commands that take one argument or more.
var withName = map[string]func(s *stage, name string, args []string) error{
	"scanner": func(s *stage, first string, rest []string) error { return s.set(append(rest, first)) },
	"tree":    (*stage).tree,
	"file":    (*stage).file,
	"touch":   func(s *stage, name string, _ []string) error { return touch(s.path(name)) },
	"remove":  func(s *stage, name string, _ []string) error { return os.Remove(s.path(name)) },
	"line":    func(s *stage, name string, rest []string) error { return s.hand(append([]string{name}, rest...)) },
	"wait": func(_ *stage, name string, _ []string) error {
		d, err := time.ParseDuration(name)
		time.Sleep(d)
		return err
	},
	"hold": fault("held"), "unreadable": fault("unreadable"), "taken": fault("taken"), "release": fault(""),
	"descriptors": locked(func(s *stage, name string, _ []string) error { s.short = name == "none"; return nil }),
	"slow":        lasts(func(s *stage) map[string]time.Duration { return s.slow }),
	"takes":       lasts(func(s *stage) map[string]time.Duration { return s.actor.takes }),
	"ends": locked(func(s *stage, name string, args []string) (err error) {
		s.ends[name], err = strconv.ParseInt(strings.Join(args, " "), 10, 64)
		return err
	}),
	"answer": locked(func(s *stage, name string, args []string) error {
		for _, word := range args {
			if failures[word] == 0 && !slices.Contains(verdicts, scan.Verdict(word)) {
				return fmt.Errorf("there is no answer %q", word)
			}
		}
		s.actor.answers[name] = args
		return nil
	}),
	"ping":   locked(func(s *stage, name string, _ []string) error { s.actor.up = name == "up"; return nil }),
	"canary": locked(func(s *stage, name string, _ []string) error { s.actor.canary = name; return nil }),
}

// locked returns f under the locks of actor and stage.
func locked(f func(*stage, string, []string) error) func(*stage, string, []string) error {
	return func(s *stage, name string, args []string) error {
		s.actor.mu.Lock()
		defer s.actor.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		return f(s, name, args)
	}
}

// lasts returns a command that sets the duration of a file in the map that of returns.
func lasts(of func(*stage) map[string]time.Duration) func(*stage, string, []string) error {
	return locked(func(s *stage, name string, args []string) (err error) {
		of(s)[name], err = time.ParseDuration(strings.Join(args, " "))
		return err
	})
}

// fault returns a command after which a file fails in this way; "" ends that.
func fault(what string) func(*stage, string, []string) error {
	return locked(func(s *stage, name string, _ []string) error { s.faults[name] = what; return nil })
}

// set does the command scanner: it takes settings of the form key=value.
func (s *stage) set(all []string) (err error) {
	c := &s.scanner
	for _, word := range all {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "workers":
			c.Workers, err = strconv.Atoi(value)
		case "tries":
			c.Tries, err = strconv.Atoi(value)
		case "backoff":
			c.BackoffFirst, err = time.ParseDuration(value)
		case "backoff_max":
			c.BackoffMax, err = time.ParseDuration(value)
		case "grace":
			s.grace, err = time.ParseDuration(value)
		case "cache":
			c.Cache, err = time.ParseDuration(value)
		case "rate":
			n, per, _ := strings.Cut(value, "/")
			if c.Rate.N, err = strconv.Atoi(n); err == nil {
				c.Rate.Per, err = time.ParseDuration(per)
			}
		case "keyed": // the scanner tells by which version it judges
			s.keyed = value == "yes"
		case "canary":
			c.Sight = -1
		default:
			err = fmt.Errorf("there is no setting %q", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tree makes a tree, or sets settle_limit of the first one.
func (s *stage) tree(what string, _ []string) (err error) {
	if limit, is := strings.CutPrefix(what, "settle_limit="); is {
		s.trees[0].SettleLimit, err = time.ParseDuration(limit)
		return err
	}
	s.trees = append(s.trees, config.Tree{Path: s.path(what), SettleLimit: time.Hour})
	return os.Mkdir(s.path(what), 0o755)
}

// start begins to push.
func (s *stage) start() error {
	ctx, stop := context.WithCancel(context.Background())
	log := slog.New(heard{s})
	c := Config{Scanner: s.scanner, Scan: s.actor, Trees: s.trees, Grace: s.grace, Source: origin{}, Copies: NewCopies(0), Metrics: NewMetrics(), Log: log}
	if s.apart {
		c.Source = Apart{}
	}
	if s.scanner.Remembers() {
		var err error
		if c.Cache, err = cache.Open(ctx, store.Disk{Pebble: vfs.NewMem()}, "/", s.scanner.Cache, slog.New(slog.DiscardHandler)); err != nil {
			stop()
			return err
		}
		s.running.Go(func() {
			_ = c.Cache.Run(ctx) // it ends with ctx
			_ = c.Cache.Close()  // its store is in memory: an error loses nothing
		})
	}
	s.workers, s.stop = newWorkers(c, s.in), stop
	s.workers.opener.from, s.workers.opener.readAt = s.open, s.readAt
	holders := newHolders(s.in, log)
	s.running.Go(func() { _ = s.workers.health.Run(ctx) })
	for _, e := range s.workers.sights.eyes {
		s.running.Go(func() { _ = s.workers.sights.tend(ctx, e, s.workers.health) })
	}
	s.running.Go(func() { _ = holders.Run(ctx, s.workers.health.open, s.workers.trials.crowdOver) })
	s.running.Go(func() {
		_ = s.workers.dispatch(ctx)
		s.say("stopped")
	})
	return nil
}

// end stops the goroutines of start, and waits for them.
func (s *stage) end() {
	if s.stop != nil {
		s.stop()
		s.running.Wait()
	}
	synctest.Wait()
}
