// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/watch"
)

var (
	// errOpening says that Run has begun, and reads what an earlier one left.
	errOpening    = errors.New("journal, ledger and index are being opened: wait for it")
	errNoProducer = errors.New("no trees are watched by this process: ask the one that runs `certpush watch` or `certpush run`")
	errNoConsumer = errors.New("this process pushes to no scanner: ask the one that runs `certpush push` or `certpush run`")
)

func (p *Pipeline) halves() halves {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// opening reports whether Run has begun, and has not opened the state or has
// closed it again.
func (p *Pipeline) opening() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running && !p.now.open()
}

// Status tells what waits, how old it is, and how trees and scanners do. While
// Run is not running it is empty.
func (p *Pipeline) Status() Status {
	now := p.halves()
	s := Status{Started: now.started, Trees: []TreeStatus{}, Scanners: []ScannerStatus{}}
	if now.producer != nil {
		s.Trees = append(s.Trees, now.producer.Status()...)
	}
	for _, c := range now.consumers {
		s.Scanners = append(s.Scanners, c.Status())
	}
	return s
}

// Ready is nil when the trees are watched, there is room to take in, outcomes
// can be recorded, and each scanner answered its last ping; otherwise it says
// what is missing.
func (p *Pipeline) Ready() error {
	now := p.halves()
	if !now.open() {
		p.mu.Lock()
		running := p.running
		p.mu.Unlock()
		switch err := p.trouble.Err(); {
		case running && err != nil:
			return fmt.Errorf("the state cannot be opened: %w", err)
		case running:
			return errOpening
		}
		return errors.New("not running")
	}
	var errs []error
	if now.producer != nil {
		errs = append(errs, now.producer.Ready())
	}
	for _, c := range now.consumers {
		errs = append(errs, c.Ready())
	}
	return errors.Join(errs...)
}

// Stuck is nil while the pipeline moves, or has no reason to. It says what does
// not move although it should: only a start anew helps then. It takes the locks
// that the work takes, so where two of them wait for each other it does not
// return at all.
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

// Sweep asks for a sweep of the named tree, or of all trees when name is empty.
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

// Pause stops pushing to the named scanner until Resume, also over restarts: its
// samples are journaled and wait. Those in flight end.
func (p *Pipeline) Pause(scanner string) error { return p.pause(scanner, true) }

// Resume lets pushing to the named scanner go on.
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

// Engines names the engines of a tree that there are here, on other systems only,
// and not yet.
func Engines() (here, elsewhere, planned []string) { return watch.Engines() }

// Ping asks one scanner whether it is ready and returns its version. The error
// is a *DownError, or says what is wrong with s.
func Ping(ctx context.Context, s Scanner) (version string, err error) {
	all, err := config.FillScanners([]Scanner{s})
	if err != nil {
		return "", err
	}
	return consumer.Ping(ctx, all[0])
}

// Scan pushes the files at and below paths to each scanner now, without a
// journal, and tells of each outcome. Only Trees and State of c are not used. It
// ends early with ctx's error, or with a *DownError when a scanner cannot be
// reached.
func Scan(ctx context.Context, c Config, paths []string, each func(Outcome)) error {
	scanners, err := config.FillScanners(c.Scanners)
	if err != nil {
		return err
	}
	return consumer.Scan(ctx, scanners, c.Log, paths, each)
}
