// SPDX-License-Identifier: Apache-2.0

// Package service is the process around the pipeline, under systemd, the
// Windows service manager or a terminal.
//
// It promises that an operator is told the truth in time: what is wrong with a
// configuration, with its place and the next step, before anything starts; and
// whether the service runs, by its exit code, its log and the admin endpoint.
//
// Invariants:
//
//  1. A configuration is taken whole or not at all. One that is refused at a
//     reload leaves the old one in force, also when only its start fails.
//  2. Every problem of a file is told at once, each with file, line, column,
//     key and next step.
//  3. The process ends with 0 only after a stop that was asked for and after the
//     pipeline gave everything back.
//  4. A GET changes nothing; a POST needs the token or a trusted peer.
//  5. No character that a terminal, a log or a page would act upon leaves here
//     raw: names, signatures and replies come from attackers.
//
// Goroutines: Start begins one that runs one generation after the other, and Stop waits
// for it. It starts, and waits for: the pipeline of the generation, one that tells the
// manager, the ears of the engine fanotify, and one that serves the admin endpoint.
package service

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	kardianos "github.com/kardianos/service"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/certpush/certpush/pipeline"
)

// ToldError is an error that was logged or printed already.
type ToldError struct{ err error }

func (e *ToldError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *ToldError) Unwrap() error { return e.err }

// Complain writes to standard error why the process ends. The text is made printable,
// because it may hold names of files.
func Complain(err error) {
	fmt.Fprintln(os.Stderr, graded("certpush: "+Printable(err.Error())))
}

// Run runs the halves that f names until the manager or a signal asks for a stop. It
// returns nil after a clean stop. An error after the log was opened is a *ToldError.
func Run(f Flags, version string) error {
	p := &process{
		flags: f, version: version,
		stops: make(chan os.Signal, 1), hangups: make(chan os.Signal, 1),
		reloads: make(chan reloadRequest), ended: make(chan struct{}), counters: pipeline.NewCounters(),
		registry: prometheus.NewRegistry(),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "certpush_config_reload_success", Help: "1 when the last reload of the configuration was taken over, 0 when it was refused.",
		}),
	}
	// First of all: a hangup before this would kill the process.
	signal.Notify(p.stops, stopSignals()...)
	defer signal.Stop(p.stops)
	if s := reloadSignals(); len(s) > 0 {
		signal.Notify(p.hangups, s...)
		defer signal.Stop(p.hangups)
	}
	var err error
	if p.first, err = Load(f); err != nil {
		lament(err)
		return err
	}
	if err := journalThere(f); err != nil {
		return err
	}
	if err := rootMayWrite(p.first); err != nil {
		return err
	}
	handed, err := handedEars()
	p.ears, p.earsErr = pipeline.NewEars(handed), err
	p.reloadOK.Set(1)
	p.registry.MustRegister(p.reloadOK, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.manager, err = kardianos.New(p, &kardianos.Config{
		Name: "certpush", Option: kardianos.KeyValue{"RunWait": p.wait},
	})
	if err != nil {
		return fmt.Errorf("reach service manager: %w", err)
	}
	return p.run()
}

// journalThere returns an error if push is told a journal folder that is not there: it
// would make it, and wait for ever.
func journalThere(f Flags) error {
	if f.Half != pipeline.ConsumerOnly || f.JournalDir == "" {
		return nil
	}
	if st, err := os.Stat(f.JournalDir); err != nil || !st.IsDir() {
		return Usage(fmt.Errorf("there is no journal folder %s: name the one in which certpush watch, or another program, writes monitor.log", printable(f.JournalDir)))
	}
	return nil
}

// process is the running service.
type process struct {
	flags    Flags
	version  string
	first    Settings
	manager  kardianos.Service
	stops    chan os.Signal
	hangups  chan os.Signal
	reloads  chan reloadRequest
	registry *prometheus.Registry
	reloadOK prometheus.Gauge
	current  atomic.Pointer[generation]
	counters *pipeline.Counters        // over all generations
	ears     *pipeline.Ears            // over all generations: those that the manager hands over come once
	earsErr  error                     // what went wrong with those
	since    atomic.Pointer[time.Time] // when the first generation had begun; nil: it has not

	cancel context.CancelFunc
	ended  chan struct{} // closed when the work has ended, with err
	err    error
}

// Start implements kardianos.Interface. It returns at once.
func (p *process) Start(kardianos.Service) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		p.err = p.work(ctx)
		close(p.ended)
		if p.err != nil && ctx.Err() == nil {
			failed(p.err)
		}
	}()
	return nil
}

// wait returns when a signal asks for a stop, or when the work has ended.
func (p *process) wait() {
	select {
	case <-p.stops:
	case <-p.ended:
	}
}

// Stop implements kardianos.Interface. It ends the work, waits for it up to stopLimit,
// and returns its error.
func (p *process) Stop(kardianos.Service) error {
	p.cancel()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.ended:
		return stopped(p.err)
	case <-limit.C:
		err := fmt.Errorf("stop: workers hold on for more than %s: what they held is pushed again at the next start", stopLimit)
		if g := p.current.Load(); g != nil {
			g.log.Error("certpush ends", "error", err)
			err = &ToldError{err}
		}
		return stopped(err)
	}
}

// announce logs that the process starts, if g is its first generation. It also logs trees that the unit hides, and that there is
// no tree to watch.
func (p *process) announce(g *generation, first bool) {
	c := g.settings.Pipeline
	if first {
		g.log.Info("certpush starts", "version", p.version, "file", g.settings.File, "state", c.State, "trees", len(c.Trees), "scanners", len(c.Scanners))
	}
	if first && p.earsErr != nil {
		g.log.Warn("manager cannot be told", "error", p.earsErr)
	}
	for _, err := range hidden(g.settings) {
		g.log.Error("a tree cannot be seen from inside the service", "error", err)
	}
	if p.idle(g.settings) {
		g.log.Warn("idle: no [[watch]]; name a tree in the file and reload, or give -d TREE", "file", g.settings.File)
	}
}

func (p *process) idle(s Settings) bool {
	return len(s.Pipeline.Trees) == 0 && p.flags.Half != pipeline.ConsumerOnly
}

// describe returns the line that `systemctl status` shows.
func (p *process) describe(s Settings) string {
	if p.idle(s) && s.File != "" {
		return "idle: no [[watch]] in " + s.File
	}
	return headline(p.status(), time.Now())
}

// say sends lines to the manager. An error is only logged.
func (p *process) say(lines ...string) {
	if err := notify(lines...); err != nil {
		p.current.Load().log.Warn("manager cannot be told", "error", err)
	}
}

// status returns the status of the pipeline, with our version.
func (p *process) status() pipeline.Status {
	s := p.current.Load().pipe.Status()
	s.Version = p.version
	if since := p.since.Load(); since != nil && !s.Started.IsZero() {
		s.Started = *since
	}
	return s
}
