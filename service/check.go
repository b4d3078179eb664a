// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// pingLimit is how long Check waits for one scanner.
const pingLimit = 5 * time.Second

// Check tries what a start tries: the configuration, the folders that are written, the room
// on their disk, the admin endpoint, the trees, the limits and each address of each
// scanner. It prints a line for each, and makes nothing
// but a file in the state, if there is one, that it takes away again: see sights. Beside a service that runs it says
// so. With offline it asks no scanner. The error has the code of the first failure, which
// is printed already.
func Check(ctx context.Context, f Flags, offline bool, out io.Writer) error {
	s, err := Load(f)
	if err != nil {
		return err
	}
	r := &report{out: out}
	r.ok("file", cmp.Or(s.File, "none; flags and defaults"))
	running := r.running(ctx, f, s)
	heard := r.ears(s)
	if name := becomeService(s.File); name != "" {
		r.note("user", "what follows is tried as "+name+", as whom the unit runs")
	}
	r.folders(s, running)
	r.endpoint(ctx, s, running)
	folders := 0
	for _, t := range s.Pipeline.Trees {
		if n := r.tree(ctx, s.File, t); !heard[t.Path] { // what is heard as a whole needs no watches
			folders += n
		}
	}
	if len(s.Pipeline.Trees) == 0 {
		r.note("tree", "none: certpush idles until the file has a [[watch]]")
	}
	checkRooms(r, s.Pipeline)
	scanners := s.Pipeline.Scanners
	if len(scanners) == 0 {
		scanners = []pipeline.Scanner{{Name: pipeline.DefaultScanner, Type: "hashlist"}}
	}
	descriptors := uint64(mostGuests + 4*mostOrders + 300) // stores, segments and watchers
	for _, c := range scanners {
		descriptors += 3 * uint64(c.MostWorkers()) // a file, a connection, and one to spare
	}
	checkLimits(r, len(s.Pipeline.Trees), folders, descriptors, running)
	if len(s.Pipeline.Scanners) == 0 {
		r.note("scanner", "none: the built-in hash list judges")
	}
	for _, c := range scanners {
		r.scanner(ctx, c, s.Pipeline.State, offline)
	}
	return r.failed
}

// report prints a line for each finding and keeps the first failure.
type report struct {
	out    io.Writer
	failed error
}

func (r *report) line(state, what, text string) {
	fmt.Fprintf(r.out, "%-4s %s  %s\n", state, what, text)
}

func (r *report) ok(what, text string)   { r.line("ok", what, text) }
func (r *report) note(what, text string) { r.line("note", what, text) }

func (r *report) result(what, text string, err error) {
	if err == nil {
		r.ok(what, text)
		return
	}
	r.line("FAIL", what, Printable(strings.ReplaceAll(err.Error(), "\n", ": ")))
	if r.failed == nil {
		r.failed = &ToldError{err}
	}
}

// checkTree reports whether a tree is there and we may list it. The error ends with the
// next step.
func checkTree(path string) error {
	const what = "make the folder, or mount what belongs there"
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist: %s", printable(path), what)
	case err != nil:
		return fmt.Errorf("look at tree: %w: let the user that certpush runs as read it", err)
	case !st.IsDir():
		return fmt.Errorf("%s is not a directory: name the folder that files are dropped in", printable(path))
	}
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open tree: %w: let the user that certpush runs as read it", err)
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("list tree: %w: let the user that certpush runs as list it", err)
	}
	return nil
}

// scanner pings each address of a scanner on its own.
func (r *report) scanner(ctx context.Context, c pipeline.Scanner, state string, offline bool) {
	name := "scanner " + c.Name
	if offline {
		r.note(name, "not pinged: --offline")
		return
	}
	if c.Workers > manyWorkers {
		r.note(name, fmt.Sprintf("%d workers: each holds a file and a connection, and few scanners judge so many at once; see its MaxThreads", c.Workers))
	}
	if len(c.Addresses) < 2 {
		r.address(ctx, name, c, state)
		return
	}
	for _, a := range c.Addresses {
		one := c
		one.Addresses = []string{a}
		r.address(ctx, name+" at "+printable(a), one, state)
	}
}

// address pings a scanner with one address, and asks it what it sees.
func (r *report) address(ctx context.Context, what string, c pipeline.Scanner, state string) {
	version, err := ping(ctx, c)
	r.result(what, printable(dash(version)), err)
	if err == nil && c.Type == "clamd" {
		r.sights(ctx, c, state)
	}
}

// manyWorkers is how many workers of one scanner are more than anybody meant.
const manyWorkers = 1024

// ping pings one scanner and adds the next step to a failure.
func ping(ctx context.Context, c pipeline.Scanner) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	version, err := pipeline.Ping(ctx, c)
	if err == nil {
		return version, nil
	}
	var down *pipeline.DownError
	if !errors.As(err, &down) {
		return "", err
	}
	step := "start it, and look at its address"
	switch {
	case c.Type == "hashlist" && errors.Is(err, fs.ErrNotExist):
		step = "name a list that is there"
	case c.Type == "hashlist":
		step = "correct the list, or name another"
	case errors.Is(err, fs.ErrPermission):
		step = "let the user of certpush into the socket's group: see certpush service dropin"
	case strings.Contains(err.Error(), "no such file"):
		step = "start clamd (systemctl start clamav-daemon), or name its LocalSocket"
	}
	return "", fmt.Errorf("%w: %s", err, step)
}
