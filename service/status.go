// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// StatusText returns the status as text: how many samples wait, how old the oldest is,
// and the state of scanners and trees. Ages are counted up to now.
func StatusText(s pipeline.Status, now time.Time) string {
	var b strings.Builder
	for _, why := range s.NotReady {
		fmt.Fprintf(&b, "Not ready: %s\n", printable(why))
	}
	fmt.Fprintf(&b, "%s\n\n", headline(s, now))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(s.Scanners) > 0 {
		fmt.Fprintln(w, "SCANNER\tSTATE\tJOURNALED\tDONE\tGONE\tSKIPPED\tDEAD\tWAITING\tIN FLIGHT\tOLDEST\tVERSION")
	}
	for _, c := range s.Scanners {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", printable(c.Name), upDown(c, now),
			c.Journaled, c.Done, c.Gone, c.Skipped, c.Dead, c.Waiting, c.InFlight, age(c.OldestWaiting), printable(dash(c.Version)))
	}
	w.Flush()
	for _, c := range s.Scanners {
		for _, a := range c.Sights {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", printable(c.Name), printable(dash(a.Address)), sightText(a))
		}
	}
	w.Flush()
	if len(s.Scanners) > 0 && len(s.Trees) > 0 {
		b.WriteByte('\n')
	}
	if len(s.Trees) > 0 {
		fmt.Fprintln(w, "TREE\tENGINE\tDIRECTORIES\tLOST\tLAST SWEEP\tPATH")
	}
	for _, t := range s.Trees {
		last := "not yet"
		if t.LastSweep != nil {
			last = ago(now.Sub(*t.LastSweep))
		}
		if t.Sweeping != nil {
			last = "now: " + t.Sweeping.String()
		}
		if t.Elsewhere != "" && t.NextSweep != nil && t.Sweeping == nil {
			last += ", next in " + span(t.NextSweep.Sub(now)) + " (" + printable(t.Elsewhere) + ": what others write raises no event)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", printable(t.Name), printable(t.Engine), t.Directories, t.Lost, last, printable(t.Path))
	}
	w.Flush()
	for _, t := range s.Trees {
		if t.Instead != "" {
			fmt.Fprintf(&b, "  %s is watched by %s instead: %s\n", printable(t.Name), printable(t.Engine), printable(t.Instead))
		}
	}
	if !s.Started.IsZero() {
		fmt.Fprintf(&b, "\ncertpush %s, running since %s\n", s.Version, s.Started.UTC().Format(time.RFC3339))
	}
	return b.String()
}

// number returns n with the word for one, or for more.
func number[N int | int64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func upDown(c pipeline.ScannerStatus, now time.Time) string {
	state := "DOWN"
	switch {
	case c.Up:
		state = "up"
	case c.Blind:
		state = "BLIND"
	}
	if c.Paused {
		return "PAUSED"
	}
	if c.Since.IsZero() {
		return state
	}
	return state + " " + span(now.Sub(c.Since))
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func age(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return span(time.Duration(seconds * float64(time.Second)))
}

func ago(d time.Duration) string { return span(d) + " ago" }

// span returns a duration as text, with as much detail as an operator needs.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return max(d, 0).Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// Status asks the running service, or both halves if they run apart, and prints the
// status, as text or as JSON.
func Status(ctx context.Context, f Flags, asJSON bool, out io.Writer) error {
	c, err := newClient(f)
	if err != nil {
		return err
	}
	answers, err := c.ask(ctx, "GET", "/api/v1/status")
	if err != nil {
		return err
	}
	var all pipeline.Status
	for i, body := range answers {
		var s pipeline.Status
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Errorf("read status: %w: does the service have the version of this command?", err)
		}
		all = merged(all, s, i == 0)
	}
	if asJSON {
		all.Summary = headline(all, time.Now())
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	_, err = io.WriteString(out, StatusText(all, time.Now()))
	return err
}

// merged returns the status of two halves as one. With first there is only b.
func merged(a, b pipeline.Status, first bool) pipeline.Status {
	if first {
		return b
	}
	a.Trees = append(a.Trees, b.Trees...)
	a.Scanners = append(a.Scanners, b.Scanners...)
	a.NotReady = append(a.NotReady, b.NotReady...)
	a.IntakeStopped = cmp.Or(a.IntakeStopped, b.IntakeStopped)
	a.Half = "both"
	if !b.Started.IsZero() && (a.Started.IsZero() || b.Started.Before(a.Started)) {
		a.Started = b.Started
	}
	return a
}
