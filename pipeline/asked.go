// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

var (
	// errOpening says that Run has begun and is still opening the state.
	errOpening    = errors.New("journal, ledger and index are being opened: wait for it")
	errNoProducer = errors.New("no trees are watched by this process: ask the one that runs `certpush watch` or `certpush run`")
	errNoConsumer = errors.New("this process pushes to no scanner: ask the one that runs `certpush push` or `certpush run`")
)

// halves returns what runs now.
func (p *Pipeline) halves() halves {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// opening reports whether Run has begun but the state is not open: not yet, or not any
// more.
func (p *Pipeline) opening() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running && !p.now.open()
}

// Status returns how many samples wait, the age of the oldest one, and the state of
// each tree and scanner. It is empty unless Run runs.
func (p *Pipeline) Status() Status {
	now := p.halves()
	s := Status{Started: now.started, Trees: []TreeStatus{}, Scanners: []ScannerStatus{}, Half: halfName(p.c.Half), NotReady: []string{}}
	if now.producer != nil {
		trees, stopped := now.producer.Status()
		s.Trees = append(s.Trees, trees...)
		if stopped != nil {
			s.IntakeStopped = stopped.Error()
		}
	}
	open := p.letters.Open()
	for _, c := range now.consumers {
		one := c.Status()
		one.DeadLetters = open[one.Name]
		s.Scanners = append(s.Scanners, one)
	}
	for _, err := range p.unready(now) {
		s.NotReady = append(s.NotReady, err.Error())
	}
	return s
}

// Ready returns nil if the trees are watched and swept, there is room to take in, outcomes
// can be recorded, and each scanner answered its last ping. Otherwise the error says what
// is missing. What needs an operator but keeps no sample from its scanner is only in the
// Status.
func (p *Pipeline) Ready() error { return errors.Join(p.unready(p.halves())...) }

// unready returns why p is not ready: one error for each reason.
func (p *Pipeline) unready(now halves) []error {
	if !now.open() {
		p.mu.Lock()
		running := p.running
		p.mu.Unlock()
		switch err := p.trouble.Err(); {
		case running && err != nil:
			return []error{fmt.Errorf("the state cannot be opened: %w", err)}
		case running:
			return []error{errOpening}
		}
		return []error{errors.New("not running")}
	}
	var errs []error
	if now.producer != nil {
		errs = append(errs, now.producer.Ready()...)
	}
	for _, c := range now.consumers {
		errs = append(errs, c.Ready()...)
	}
	return errs
}

// Stuck returns nil if the pipeline moves, or has nothing to do. Otherwise the error
// says which part does not move although it should: then only a restart of the process
// helps. Stuck takes the locks that the work takes. So if two parts wait for each
// other, it does not return.
func (p *Pipeline) Stuck() error {
	p.Status()
	now, halves := time.Now(), p.halves()
	var errs []error
	if halves.producer != nil {
		errs = append(errs, halves.producer.Stuck(now))
	}
	for _, c := range halves.consumers {
		errs = append(errs, c.Stuck(now))
	}
	return errors.Join(errs...)
}

// Sweep asks for a sweep of the tree with this name, or of all trees if name is empty.
// It does not wait for it.
func (p *Pipeline) Sweep(name string) error {
	prod := p.halves().producer
	switch {
	case prod == nil:
		return errNoProducer
	case !prod.Sweep(name):
		return fmt.Errorf("no tree is named %q: see `certpush status`", name)
	}
	return nil
}

// Pause stops pushing to the named scanner until Resume, even over restarts. Its
// samples are journaled and wait. Pushes in flight go on to their end.
func (p *Pipeline) Pause(scanner string) error { return p.pause(scanner, true) }

// Resume ends a Pause of the named scanner.
func (p *Pipeline) Resume(scanner string) error { return p.pause(scanner, false) }

func (p *Pipeline) pause(scanner string, on bool) error {
	consumers := p.halves().consumers
	if len(consumers) == 0 {
		return errNoConsumer
	}
	var names []string
	for _, c := range consumers {
		if c.Name() == scanner {
			return c.Pause(on)
		}
		names = append(names, c.Name())
	}
	return fmt.Errorf("no scanner is named %q: name one of %s", scanner, strings.Join(names, ", "))
}

// Ears hear whole file systems, for the engine fanotify.
type Ears = watch.Ears

// NewEars returns Ears. handed holds what OpenEar returned to somebody with more rights,
// by the device of its file system.
func NewEars(handed map[uint64]*os.File) *Ears { return watch.NewEars(handed) }

// TryEar returns nil if we can hear the file system of the folder at path as a whole.
func TryEar(path string) error { return watch.TryEar(path) }

// Engines returns the names of the engines that a tree can have on this system, and only
// on other systems.
func Engines() (here, elsewhere []string) { return watch.Engines() }

// Ping asks one scanner whether it is ready, and returns its version. The error is a
// *DownError if it does not answer; otherwise it says what is wrong with s.
func Ping(ctx context.Context, s Scanner) (version string, err error) {
	all, err := config.FillScanners([]Scanner{s})
	if err != nil {
		return "", err
	}
	return consumer.Ping(ctx, all[0])
}

// Sight asks each address of a scanner with canaries what it sees, now. The error is a
// *DownError if none answers; otherwise it says what is wrong with s. The list is empty if
// the scanner never calls anything clean, or is not asked.
func Sight(ctx context.Context, s Scanner) ([]scan.Sight, error) { return SightFrom(ctx, s, "") }

// SightFrom is Sight with a canary more for scanners that take descriptors: a harmless
// file that lies for a moment in the state folder. It is not asked where there is no state.
func SightFrom(ctx context.Context, s Scanner, state string) ([]scan.Sight, error) {
	all, err := config.FillScanners([]Scanner{s})
	if err != nil {
		return nil, err
	}
	dir := ""
	if state != "" {
		if st, err := os.Lstat(filepath.Join(state, "cursors")); err == nil && st.IsDir() {
			dir = filepath.Join(state, "cursors")
		}
	}
	return consumer.Sight(ctx, all[0], dir)
}

// Scan pushes the files at and below paths to each scanner now, without a journal, and
// calls each with every outcome. Below the Trees of c it follows no link, also not in
// paths; State is not used. It ends early with ctx's error, or with a *DownError if a scanner cannot be reached.
func Scan(ctx context.Context, c Config, paths []string, each func(Outcome)) error {
	scanners, err := config.FillScanners(c.Scanners)
	if err != nil {
		return err
	}
	return consumer.Scan(ctx, c.Trees, scanners, c.Log, paths, each)
}
