// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// TreeStatus is one tree's part of the status.
type TreeStatus struct {
	Name        string     `json:"name"`
	Path        string     `json:"path"`
	Engine      string     `json:"engine"`
	Directories int        `json:"directories"`
	Lost        uint64     `json:"lost"`
	LastSweep   *time.Time `json:"last_sweep"` // when the last sweep of the whole tree ended; nil: none has
	NextSweep   *time.Time `json:"next_sweep"` // when the next one begins, if no doubt brings one before; nil: none has ended, or none comes by time
	Sweeping    *Sweeping  `json:"sweeping"`   // the sweep of the whole tree that goes on; nil: none does
	Unwatched   int        `json:"unwatched"`  // directories that are not watched or cannot be read; they are swept each minute
	TooLong     int        `json:"too_long"`   // directories that are left out, because their path is too long
	Troubles    []Trouble  `json:"troubles"`   // the first few of Unwatched
	Elsewhere   string     `json:"elsewhere"`  // the type of its file system, if what others write there raises no event; "": all does
	Limit       string     `json:"limit"`      // what to do about a limit of the system that was reached; "": none was
	Instead     string     `json:"instead"`    // why engine takes the place of the one that was asked for, and what to do; "": it does not

	Watched  bool   `json:"watched"`  // the tree is there and, unless its engine is sweep, watched
	Unread   string `json:"unread"`   // why the tree itself cannot be read; "": it can
	Settling int    `json:"settling"` // files that are being written, or are looked at for that
	Excluded int    `json:"excluded"` // files that include and exclude left out at the last sweep
}

// Trouble is a directory that is not watched or cannot be read.
type Trouble struct {
	Path  string `json:"path"`
	Error string `json:"error"` // with its errno
}

// Status returns the status of each tree, and why no file is taken in; stopped is nil
// while files are.
func (p *Producer) Status() (all []TreeStatus, stopped error) {
	if err := p.index.Stalled(); err != nil {
		stopped = fmt.Errorf("intake is stopped: the index cannot be written: %w", err)
	} else {
		stopped = p.gate.stopped()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.watcher.State() {
		s := TreeStatus{
			Name: t.Name, Path: t.Path, Engine: t.Engine, Directories: t.Directories, Lost: t.Lost, Unwatched: t.Unwatched, TooLong: t.TooLong, Troubles: []Trouble{}, Elsewhere: t.Elsewhere, Limit: t.Limit,
			Watched: t.Armed, Settling: p.watcher.Unsettled(i), Excluded: p.swept[i].excluded,
		}
		for _, bad := range t.Troubles {
			s.Troubles = append(s.Troubles, TroubleOf(bad.Path, bad.Err))
		}
		if t.Instead != nil {
			s.Instead = t.Instead.Error()
		}
		if t.Unread != nil {
			s.Unread = Errno(t.Unread)
		}
		if last := p.swept[i]; !last.at.IsZero() {
			s.LastSweep = &last.at
			if tree := p.c.Trees[i]; tree.Sweep > 0 {
				next := last.at.Add(pauseAfter(tree, t.Elsewhere != "", last.took))
				s.NextSweep = &next
			}
		}
		if now := p.swept[i].now; now != nil {
			s.Sweeping = now.at(time.Now())
		}
		all = append(all, s)
	}
	return all, stopped
}

// Ready returns nothing while each tree is watched and was swept, and files can be taken
// in. Otherwise it returns what is missing.
func (p *Producer) Ready() (errs []error) {
	all, stopped := p.Status()
	for _, t := range all {
		switch {
		case t.Unread != "":
			errs = append(errs, fmt.Errorf("tree %s cannot be read, %s: let the user that certpush runs as read %s", t.Name, t.Unread, t.Path))
		case !t.Watched:
			errs = append(errs, fmt.Errorf("tree %s is not watched: see that %s is there", t.Name, t.Path))
		case t.LastSweep == nil:
			how := ""
			if t.Sweeping != nil {
				how = " (" + t.Sweeping.String() + ")"
			}
			errs = append(errs, fmt.Errorf("tree %s is being swept for the first time since the start%s: wait for it", t.Name, how))
		}
	}
	if stopped != nil {
		errs = append(errs, stopped)
	}
	return errs
}

// Errno returns the system's error in err, without the path.
func Errno(err error) string {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no.Error()
	}
	return err.Error()
}

// tendStuck is how long the care of index and disk may take before it counts as stuck.
// It may wait for a disk that refuses; that does not count.
const tendStuck = time.Minute

// Stuck returns nil if tend has run in the last minute before now, or waits for the
// disk of the index.
func (p *Producer) Stuck(now time.Time) error {
	if at := time.Unix(0, p.tended.Load()); now.Sub(at) > tendStuck && p.index.Stalled() == nil {
		return fmt.Errorf("the producer has not looked after its index since %s", at.Format(time.TimeOnly))
	}
	return nil
}

// Sweep asks for a sweep of the tree with this name or path, or of all trees if name is
// empty. It returns false if there is no such tree.
func (p *Producer) Sweep(name string) bool {
	found := name == ""
	for i, t := range p.c.Trees {
		if name == "" || name == t.Name || name == t.Path {
			p.watcher.Ask(i, t.Path)
			found = true
		}
	}
	return found
}

// TroubleOf returns the trouble of a directory: the system's error in err, without the
// path.
func TroubleOf(path string, err error) Trouble { return Trouble{path, Errno(err)} }
