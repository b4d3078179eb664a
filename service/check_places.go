// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/certpush/certpush/pipeline"
)

// running tells whether a service runs on this state, and what it says. It returns true if
// one does.
func (r *report) running(ctx context.Context, f Flags, s Settings) bool {
	runs := false
	for _, half := range []pipeline.Half{pipeline.ProducerOnly, pipeline.ConsumerOnly} {
		if held, err := pipeline.Held(s.Pipeline.State, half); err == nil && held {
			runs = true
		}
	}
	if !runs {
		return false
	}
	who := "another process"
	for _, half := range []pipeline.Half{pipeline.Both, pipeline.ConsumerOnly} {
		if n, err := readNote(s.Pipeline.State, half); err == nil {
			who = fmt.Sprintf("the service, pid %d", n.PID)
			break
		}
	}
	says := "it does not answer"
	if c, err := newClient(f); err == nil {
		c.limit = pingLimit
		if bodies, err := c.ask(ctx, "GET", "/api/v1/status"); err == nil {
			var one pipeline.Status
			if json.Unmarshal(bodies[0], &one) == nil {
				says = headline(one, time.Now())
			}
		}
	}
	r.ok("service", "the state is held by "+who+": "+printable(says))
	return true
}

// folders tries the folders that are written, and the room on the disk of the journal.
func (r *report) folders(s Settings, running bool) {
	if running {
		return // they are in use: the service says what is wrong with them
	}
	c, err := s.Pipeline.Filled()
	if err != nil {
		r.result("state", "", configError(err))
		return
	}
	if err := rootMayWrite(s); err != nil {
		r.result("state", printable(c.State), err)
	} else {
		r.result("state", printable(c.State), mayMake(c.State))
	}
	r.result("journal", printable(c.Journal.Dir), mayMake(c.Journal.Dir))
	if filepath.IsAbs(s.Log.To) {
		r.result("log", printable(s.Log.To), mayMake(filepath.Dir(s.Log.To)))
	}
	all, free, err := room(c.Journal.Dir)
	const mib = 1 << 20
	switch {
	case err != nil:
		err = fmt.Errorf("ask free space: %w", err)
	case c.Journal.MinFree > all:
		err = fmt.Errorf("journal.min_free is %d MiB, and the whole disk has %d MiB, so nothing would ever be journaled: lower it", c.Journal.MinFree/mib, all/mib)
	case c.Journal.MinFree > free:
		err = fmt.Errorf("%d MiB are free and journal.min_free is %d MiB, so nothing would be journaled: make room, or lower it", free/mib, c.Journal.MinFree/mib)
	}
	r.result("room", fmt.Sprintf("%d of %d MiB are free", free/mib, all/mib), err)
}

// endpoint tries to listen where the admin endpoint would, and closes it again.
func (r *report) endpoint(ctx context.Context, s Settings, running bool) {
	e, err := parseListen(s.Listen)
	if running || err != nil || e == (endpoint{}) {
		return
	}
	if e.network == "unix" {
		r.result("admin", printable(e.String()), mayMake(filepath.Dir(e.address)))
		return
	}
	l, err := e.listen(ctx)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		err = fmt.Errorf("%w: another program has it, or it is not ours to use: set another [admin] listen", err)
	}
	r.result("admin", e.String(), err)
}

const (
	shortSweep = 10 * time.Second // a shorter time between sweeps is more than anybody meant
	countFor   = 10 * time.Second // the files of a tree are counted for so long at most
)

// tree tries one tree, and counts the files that each include matches. It returns how many
// folders the tree has.
func (r *report) tree(ctx context.Context, file string, t pipeline.Tree) (folders int) {
	name := "tree " + printable(nameOf(t))
	err := checkTree(t.Path)
	if err == nil {
		err = hiddenByUnit(file, t.Path)
	}
	if kind := madeUp(t.Path); err == nil && kind != "" {
		err = fmt.Errorf("%s is of the file system %s, where the kernel makes up the files, and nobody drops one: name the folder that files are dropped in", printable(t.Path), kind)
	}
	r.result(name, printable(t.Path), err)
	if t.Sweep > 0 && t.Sweep < shortSweep {
		r.note(name, fmt.Sprintf("sweep = %v: the whole tree would be walked without a pause; events find files at once, an hour is enough", t.Sweep))
	}
	if err != nil {
		return 0
	}
	files, matched, whole := 0, make([]int, len(t.Include)), true
	until := time.Now().Add(countFor)
	walked := filepath.WalkDir(Resolved(t.Path), func(path string, d fs.DirEntry, err error) error {
		switch {
		case time.Now().After(until) || ctx.Err() != nil:
			whole = false
			return filepath.SkipAll
		case err != nil: // told by the service, with its rights
			return nil
		case d.IsDir():
			folders++
			return nil
		}
		files++
		rel, err := filepath.Rel(Resolved(t.Path), path)
		if err != nil {
			return nil
		}
		for i, g := range t.Include {
			if ok, err := doublestar.Match(g, filepath.ToSlash(rel)); err == nil && ok {
				matched[i]++
			}
		}
		return nil
	})
	if walked != nil && !errors.Is(walked, os.ErrNotExist) {
		r.result(name, "", fmt.Errorf("count files: %w", walked))
	}
	for i, g := range t.Include {
		text := fmt.Sprintf("include %q matches %d of %d files", g, matched[i], files)
		if matched[i] == 0 && files > 0 && whole {
			err := fmt.Errorf("%s: correct it, or take it out; \"**/%s\" would look in all folders", text, filepath.Base(g))
			r.result(name, text, err)
			continue
		}
		r.ok(name, text)
	}
	return folders
}

// ears tells of each tree with engine fanotify whether it can be heard so, and returns
// those that can. Only root can try it.
func (r *report) ears(s Settings) map[string]bool {
	heard := map[string]bool{}
	for _, t := range s.Pipeline.Trees {
		if t.Engine != "fanotify" {
			continue
		}
		name := "tree " + printable(nameOf(t))
		err := pipeline.TryEar(t.Path)
		has, installed := unitHasEars()
		switch {
		case errors.Is(err, fs.ErrNotExist): // told below
		case errors.Is(err, fs.ErrPermission):
			r.note(name, "whether fanotify can hear it only root can try; certpush status tells what the service has")
		case err != nil:
			r.note(name, "fanotify cannot hear it, so inotify watches it instead: "+Printable(err.Error()))
		case installed && s.File == defaultFile() && !has:
			r.note(name, "the unit lacks what fanotify needs, so inotify watches it instead: certpush service dropin prints it")
		default:
			heard[t.Path] = true
			r.ok(name, "fanotify can hear its file system")
		}
	}
	return heard
}

// mayMake returns nil if we may write in dir, or may make it: in the first folder above it
// that is there. It writes nothing.
func mayMake(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue
		case err != nil:
			return fmt.Errorf("%w: look what is at that path, or name another folder", err)
		case !st.IsDir():
			return fmt.Errorf("%s is not a directory: look what is at that path, or name another folder", printable(at))
		}
		return mayWrite(at)
	}
}
