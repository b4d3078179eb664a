// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline"
)

// generation is one configuration with its pipeline.
type generation struct {
	settings Settings
	pipe     *pipeline.Pipeline
	registry *prometheus.Registry
	log      *slog.Logger
	closeLog func() error
}

// build makes a generation. Its log is open; its pipeline does not run yet. The error has
// its exit code.
func (p *process) build(s Settings) (*generation, error) {
	g := &generation{settings: s, registry: prometheus.NewRegistry()}
	// Only a change of the unit can make these folders writable, so do not wait for that.
	err := errors.Join(forbidden(s)...)
	if err != nil {
		return nil, configError(err)
	}
	if g.log, g.closeLog, err = openLog(s.Log); err != nil {
		return nil, openError(err)
	}
	c := s.Pipeline
	c.Half, c.Log, c.Registry, c.Grace, c.Counters = p.flags.Half, g.log, g.registry, stopGrace, p.counters
	c.Ears = p.ears
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

func (g *generation) end() {
	if err := g.closeLog(); err != nil {
		fmt.Fprintln(os.Stderr, "certpush: close log:", err)
	}
}

// work runs one generation after the other until ctx ends or one fails.
func (p *process) work(ctx context.Context) error {
	cur, err := p.build(p.first)
	if err != nil {
		return err
	}
	s := &succession{p: p, door: newDoor(p), cur: cur, answer: nobody}
	defer s.door.close()
	looks, stop := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	looking.Go(func() { p.tellManager(looks) })
	looking.Go(func() { p.ears.Run(looks) }) // also while the state cannot be opened: somebody must empty what was handed over
	defer looking.Wait()
	defer stop()
	for first := true; ; {
		end := p.serve(ctx, s.cur, first, s.slow, s.began)
		first = false
		switch {
		case end.next != nil:
			s.old, s.cur, s.answer = s.cur, end.next, end.answer
		case end.err != nil && !end.begun && s.old != nil && ctx.Err() == nil:
			if err := s.fallBack(end.err); err != nil {
				return err
			}
		default:
			return s.finish(end.err)
		}
	}
}

// succession holds the generation that serves, and the one before it, which is kept until
// the new one has begun. Only the goroutine of work has it.
type succession struct {
	p      *process
	door   *door
	cur    *generation
	old    *generation // the one before cur; nil if cur has begun
	answer func(error) // answers the request for the reload
}

// nobody is the answer if no request waits for one.
func nobody(error) {}

// slow opens the door before cur has begun, so that probes see why it takes long.
func (s *succession) slow() {
	if s.old == nil { // otherwise the door of the old one is open, and may be needed again
		s.door.open(s.cur, false)
	}
}

// began makes cur replace the old generation: it opens the door for cur, ends the old one
// and answers the request.
func (s *succession) began() {
	s.p.since.CompareAndSwap(nil, new(time.Now()))
	s.door.open(s.cur, true)
	if s.old != nil {
		s.p.reloadOK.Set(1)
		s.cur.log.Info("configuration is reloaded", "file", s.cur.settings.File)
		s.old.end()
		s.old = nil
	}
	s.answer(nil)
	s.answer = nobody
	s.p.say("READY=1", "STATUS="+s.p.describe(s.cur.settings))
}

// fallBack builds the old generation again, because the new one could not begin. The error
// says why it cannot be built.
func (s *succession) fallBack(why error) error {
	s.p.refuse(s.old.log, why)
	s.answer(why)
	s.answer = nobody
	s.cur.end()
	again, err := s.p.build(s.old.settings)
	if err != nil {
		return err
	}
	s.old.end()
	s.cur, s.old = again, nil
	return nil
}

// finish ends the last generation. It returns err with advice, as a *ToldError because it
// was logged, or nil.
func (s *succession) finish(err error) error {
	s.answer(errors.New("the service stops"))
	if err != nil {
		err = advised(err)
		s.cur.log.Error("certpush ends", "error", err)
		err = &ToldError{err}
	} else {
		s.cur.log.Info("certpush has stopped")
	}
	s.cur.end()
	return err
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

// ending says how a generation ended: it is replaced by next, or it failed with err. begun
// says that its pipeline had opened its folders.
type ending struct {
	next   *generation
	answer func(error)
	begun  bool
	err    error
}

const (
	lookEvery = 20 * time.Millisecond // a starting pipeline is asked this often whether it has begun
	slowStart = time.Second           // if a start takes longer, the door is opened: probes must see why
)

// serve runs g until ctx ends, g fails, or a reload brings a next generation. It calls
// began once, when the pipeline of g has opened its folders. If that takes longer than
// slowStart, it calls slow first. first says that the process starts with g. At that time no other process holds the folders,
// because otherwise g would have failed at once.
func (p *process) serve(ctx context.Context, g *generation, first bool, slow, began func()) (e ending) {
	p.current.Store(g)
	p.announce(g, first)
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- g.pipe.Run(runCtx) }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	late := time.NewTimer(slowStart)
	defer late.Stop()
	// Take no reload before g has begun: until then there may be an old one to fall back to.
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
