// SPDX-License-Identifier: Apache-2.0

// Package service is the process around the pipeline, under systemd, the Windows service
// manager or a terminal.
//
// It promises: an operator learns the truth in time. Before anything starts, each
// mistake in a configuration is told with its place and the next step. Exit code, log
// and admin endpoint say whether the service runs.
//
// Invariants:
//
//  1. A configuration is taken whole or not at all. If a reload refuses a new one, or
//     its start fails, the old one stays in force.
//  2. All problems of a file are told at once, each with file, line, column, key and
//     next step.
//  3. The process ends with 0 only after somebody asked for a stop and the pipeline
//     stopped cleanly.
//  4. A GET changes nothing. A POST needs the token or a trusted peer.
//  5. No character that a terminal, a log or a page would act upon leaves this package
//     as it is: names, signatures and replies come from attackers.
//
// Goroutines: process.work runs one configuration after the other, and is the only one
// that changes which is in force. Beside it run tellManager, the pipeline, and the admin
// endpoint with its connections. They share process.current, which is atomic. crowd.mu
// guards the connections.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"sync"
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
		reloads: make(chan reloadRequest), ended: make(chan struct{}),
		registry: prometheus.NewRegistry(),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "certpush_config_reload_success", Help: "1 when the last reload of the configuration was taken over, 0 when it was refused.",
		}),
	}
	// This comes first: a SIGHUP before it would kill the process.
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

	cancel context.CancelFunc
	ended  chan struct{} // closed when the work has ended, with err
	err    error
}

// reloadRequest asks for a reload. answer is called once with the result. It must not
// block.
type reloadRequest struct{ answer func(error) }

// generation is one configuration with the pipeline that runs by it.
type generation struct {
	settings Settings
	pipe     *pipeline.Pipeline
	registry *prometheus.Registry
	log      *slog.Logger
	closeLog func() error
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

// build makes a generation. Its log is open, and its pipeline does not run yet.
func (p *process) build(s Settings) (*generation, error) {
	g := &generation{settings: s, registry: prometheus.NewRegistry()}
	// Only another unit can allow these folders, so it makes no sense to wait for them.
	err := errors.Join(forbidden(s)...)
	if err != nil {
		return nil, configError(err)
	}
	if g.log, g.closeLog, err = openLog(s.Log); err != nil {
		return nil, openError(err)
	}
	c := s.Pipeline
	c.Half, c.Log, c.Registry, c.Grace = p.flags.Half, g.log, g.registry, stopGrace
	if g.pipe, err = pipeline.New(c); err != nil {
		return nil, errors.Join(configError(err), g.closeLog())
	}
	return g, nil
}

// openError returns the error of opening the log with its exit code. A place that the
// user may not write is not a mistake of the configuration.
func openError(err error) error {
	err, _ = locked(err)
	if errors.Is(err, fs.ErrPermission) {
		return &coded{ExitPermission, err}
	}
	return configError(err)
}

// work runs one generation after the other until ctx ends or one fails.
func (p *process) work(ctx context.Context) error {
	cur, err := p.build(p.first)
	if err != nil {
		return err
	}
	d := &door{p: p}
	defer d.close()
	looks, stop := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	looking.Go(func() { p.tellManager(looks) })
	defer looking.Wait()
	defer stop()
	var old *generation // the generation before cur, until cur has begun
	nobody := func(error) {}
	answer := nobody
	for {
		slow := func() {
			if old == nil { // otherwise that of old is open, and may be needed again
				d.open(cur, false)
			}
		}
		end := p.serve(ctx, cur, slow, func() {
			d.open(cur, true)
			if old != nil {
				p.reloadOK.Set(1)
				cur.log.Info("configuration is reloaded", "file", cur.settings.File)
				old.end()
				old = nil
			}
			answer(nil)
			answer = nobody
			p.say("READY=1", "STATUS="+p.describe(cur.settings))
		})
		switch {
		case end.next != nil:
			old, cur, answer = cur, end.next, end.answer
		case end.err != nil && !end.begun && old != nil && ctx.Err() == nil:
			p.refuse(old.log, end.err)
			answer(end.err)
			answer = nobody
			cur.end()
			if cur, err = p.build(old.settings); err != nil {
				return err
			}
			old.end()
			old = nil
		default:
			answer(errors.New("the service stops"))
			if end.err != nil {
				end.err = advised(end.err)
				cur.log.Error("certpush ends", "error", end.err)
				end.err = &ToldError{end.err}
			} else {
				cur.log.Info("certpush has stopped")
			}
			cur.end()
			return end.err
		}
	}
}

// advised adds the next step to an error with which the pipeline ended.
func advised(err error) error {
	if err, ok := locked(err); ok {
		return err
	}
	var at *fs.PathError
	switch {
	case errors.Is(err, pipeline.ErrLocked):
		return fmt.Errorf("%w: stop the other certpush, or give this one another state folder", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let the user that certpush runs as in there, or name another folder", err)
	case errors.As(err, &at):
		return fmt.Errorf("%w: look what is at that path, or name another folder", err)
	}
	return err
}

// end closes the log.
func (g *generation) end() {
	if err := g.closeLog(); err != nil {
		fmt.Fprintln(os.Stderr, "certpush: close log:", err)
	}
}

// ending says how a generation ended: by a next one, or with err. begun says that its
// pipeline had opened its folders.
type ending struct {
	next   *generation
	answer func(error)
	begun  bool
	err    error
}

const (
	lookEvery = 20 * time.Millisecond // how often serve asks a starting pipeline whether it has begun
	slowStart = time.Second           // after this the admin endpoint opens before the start is done, so that probes see why
)

// serve runs g until ctx ends, it fails, or a reload brings a next generation. It calls
// began once, when the pipeline of g has opened its folders. If that takes longer than
// slowStart it calls slow before. By then no other process holds the folders: that would
// have ended g at once.
func (p *process) serve(ctx context.Context, g *generation, slow, began func()) (e ending) {
	p.current.Store(g)
	p.announce(g)
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- g.pipe.Run(runCtx) }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	late := time.NewTimer(slowStart)
	defer late.Stop()
	// No reload is taken before g has begun: until then work may fall back to the old
	// generation.
	var reloads chan reloadRequest
	var hangups chan os.Signal
	for e.next == nil {
		select {
		case err := <-done:
			e.begun = e.begun || !g.pipe.Status().Started.IsZero()
			if err == nil && ctx.Err() == nil {
				err = errors.New("the pipeline ended by itself: report this")
			}
			if ctx.Err() != nil {
				p.say("STOPPING=1")
			}
			e.err = err
			return e
		case <-look.C:
			if !e.begun && !g.pipe.Status().Started.IsZero() {
				e.begun = true
				look.Stop()
				late.Stop()
				reloads, hangups = p.reloads, p.hangups
				began()
			}
		case <-late.C:
			slow()
		case <-hangups:
			e.next, e.answer = p.reload(g, func(error) {})
		case r := <-reloads:
			e.next, e.answer = p.reload(g, r.answer)
		}
	}
	stop()
	if err := <-done; err != nil {
		g.log.Error("the pipeline did not stop cleanly", "error", err)
	}
	return e
}

// reload reads the configuration again and returns the next generation with its answer.
// If the new configuration is refused it logs that, answers, and returns nil.
func (p *process) reload(g *generation, answer func(error)) (*generation, func(error)) {
	p.say("RELOADING=1", monotonic(), "STATUS=reloading")
	s, err := Load(p.flags)
	var next *generation
	if err == nil {
		err = fixed(g.settings, s)
	}
	if err == nil {
		next, err = p.build(s)
	}
	if err != nil {
		p.refuse(g.log, err)
		answer(err)
		p.say("READY=1", "STATUS="+p.describe(g.settings))
		return nil, nil
	}
	return next, answer
}

// fixed returns an error if the state or journal folder differs. They cannot change while
// the process runs, because it holds their locks and works on their content.
func fixed(old, s Settings) error {
	for _, f := range []struct{ key, was, is string }{
		{"state", old.Pipeline.State, s.Pipeline.State}, {"journal.dir", old.Pipeline.Journal.Dir, s.Pipeline.Journal.Dir},
	} {
		if f.was != f.is {
			return configError(fmt.Errorf("%s cannot change by a reload (from %q to %q): write the old one, or stop certpush and start it again", f.key, f.was, f.is))
		}
	}
	return nil
}

// refuse logs that a new configuration is refused.
func (p *process) refuse(log *slog.Logger, err error) {
	p.reloadOK.Set(0)
	log.Error("the new configuration is refused, the old one stays in force", "error", err)
}

// announce logs that g starts. It also logs trees that the unit hides, and that there is
// no tree to watch.
func (p *process) announce(g *generation) {
	c := g.settings.Pipeline
	g.log.Info("certpush starts", "version", p.version, "file", g.settings.File, "state", c.State, "trees", len(c.Trees), "scanners", len(c.Scanners))
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
	switch {
	case p.idle(s) && s.File != "":
		return "idle: no [[watch]] in " + s.File
	case p.idle(s):
		return "idle: no tree to watch"
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
	return s
}

// askReload asks process.work for a reload and waits for the answer.
func (p *process) askReload(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case p.reloads <- reloadRequest{func(err error) { answer <- err }}:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return errors.New("the service has stopped: start it again")
	}
	select {
	case err := <-answer:
		return err
	case <-p.ended:
		return errors.New("the service has stopped: see its log")
	}
}
