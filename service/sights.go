// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// sightFor is how long a look at one scanner may take: a deep canary takes a while.
const sightFor = 2 * time.Minute

// errSight is the error of TestScanners if an address is blind.
var errSight = errors.New("an address is blind: it calls the test file clean, or a harmless one malicious")

// sightText says what an address sees.
func sightText(s pipeline.SightOf) string {
	switch s.Plain {
	case pipeline.NotAsked:
		return "not asked yet"
	case pipeline.NoAnswer:
		return "no answer: " + printable(s.Why)
	case pipeline.No:
		return "BLIND: " + printable(s.Why)
	}
	words := []string{"sees"}
	for _, c := range []struct {
		name string
		seen pipeline.Seen
	}{{"archives", s.Archive}, {"encrypted", s.Encrypted}, {"depth " + bytesText(s.Deep), s.Depth}, {"ordinary files", s.Ordinary}} {
		switch c.seen {
		case "": // it takes no descriptors
		case pipeline.Yes:
			words = append(words, c.name)
		case pipeline.No:
			words = append(words, "NOT "+c.name)
		case pipeline.NotAsked:
			if c.name == "depth "+bytesText(s.Deep) && s.Deep > 0 {
				words = append(words, c.name+" so far")
				break
			}
			fallthrough
		default:
			words = append(words, "(not asked: "+strings.Fields(c.name)[0]+")")
		}
	}
	return strings.Join(words, " ")
}

// bytesText returns a size in the largest unit that fits.
func bytesText(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n > 0 && n%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d %s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// sights asks each address of a scanner what it sees, and prints a line for each, and one
// with the next step for what it does not see. A canary may lie in the state folder.
func (r *report) sights(ctx context.Context, c pipeline.Scanner, state string) {
	ctx, cancel := context.WithTimeout(ctx, sightFor)
	defer cancel()
	all, err := pipeline.SightFrom(ctx, c, state)
	if err != nil {
		r.result("scanner "+c.Name, "", err)
		return
	}
	if len(all) == 0 {
		r.note("scanner "+c.Name, "no canary asks it, and it calls nothing clean")
	}
	for _, s := range all {
		what := strings.TrimSpace("sight " + c.Name + " " + printable(s.Address))
		switch s.Plain {
		case pipeline.Yes:
			r.ok(what, sightText(s))
		case pipeline.No:
			r.result(what, "", fmt.Errorf("%s: %s: %w", s.Why, s.Lacks()[0].Hint, errSight))
			continue
		default:
			r.result(what, "", &pipeline.DownError{Scanner: c.Name, Err: errors.New(sightText(s))})
			continue
		}
		for _, lacks := range s.Lacks() {
			r.note(what, string(lacks.Canary)+" is not seen: "+lacks.Hint)
		}
	}
}

// TestScanners asks each address of the scanner with this name, or of all scanners if
// name is empty, what it sees, and prints it. The error has the code of the first failure,
// which is printed already.
func TestScanners(ctx context.Context, f Flags, name string, out io.Writer) error {
	s, err := Load(f)
	if err != nil {
		return err
	}
	r := report{out: out}
	if name := becomeService(s.File); name != "" {
		r.note("user", "what follows is tried as "+name+", as whom the unit runs")
	}
	var names []string
	for _, c := range s.Pipeline.Scanners {
		names = append(names, c.Name)
		if name == "" || name == c.Name {
			r.sights(ctx, c, s.Pipeline.State)
		}
	}
	switch {
	case len(names) == 0:
		r.note("scanner", "none: the built-in hash list judges, and it calls nothing clean")
	case name != "" && !strings.Contains("\x00"+strings.Join(names, "\x00")+"\x00", "\x00"+name+"\x00"):
		return Usage(fmt.Errorf("no scanner is named %q: name one of %s", name, strings.Join(names, ", ")))
	}
	return r.failed
}
