// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// chapter is one line of a story.
type chapter struct {
	at   time.Time
	text string
}

// storyText returns a story as text: for each version of each path all that happened, in
// order of time.
func storyText(s pipeline.Story) string {
	told := map[string][]chapter{} // by version and path
	var heads []string
	add := func(id, path string, at time.Time, format string, a ...any) {
		head := printable(path)
		if id != "" {
			head += "  id " + printable(id)
		}
		if _, known := told[head]; !known {
			heads = append(heads, head)
		}
		told[head] = append(told[head], chapter{at, fmt.Sprintf(format, a...)})
	}
	ids := map[string]pipeline.Sample{} // by place
	for _, l := range s.Lines {
		ids[l.At] = l.Sample
		whose := ""
		if l.Sample.For != "" {
			whose = " for " + printable(l.Sample.For)
		}
		if l.Sample.Bare() {
			add("", l.Sample.Path, time.Time{}, "journaled    as a bare path, at %s", l.At)
			continue
		}
		add(l.Sample.ID, l.Sample.Path, l.Sample.Seen, "journaled    via %s%s, %d bytes, at %s", printable(l.Sample.Via), whose, l.Sample.Size, l.At)
	}
	for _, t := range s.Tries {
		add(t.ID, t.Path, t.Time, "try %-8d %s: %s", t.Try, printable(t.Scanner), printable(t.Reason))
	}
	for _, o := range s.Outcomes {
		add(o.ID, o.Path, o.Time, "%s", outcomeText(o))
	}
	for _, w := range s.Withdrawn {
		for _, o := range s.Outcomes {
			if o.Scanner != w.Scanner || o.At.String() != w.Of {
				continue
			}
			add(o.ID, o.Path, time.Now(), "taken back   %s: %s", printable(w.Scanner), withdrawnText(o, w))
		}
	}
	for _, w := range s.Waiting {
		l := ids[w.At]
		add(l.ID, l.Path, time.Now(), "waits        %s: no outcome yet, at %s", printable(w.Scanner), w.At)
	}
	var b strings.Builder
	if len(heads) == 0 && len(s.Now) > 0 {
		b.WriteString("neither journal nor ledger know it; older segments are pruned\n")
	}
	for i, head := range heads {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintln(&b, head)
		slices.SortStableFunc(told[head], func(x, y chapter) int { return x.at.Compare(y.at) })
		for _, c := range told[head] {
			when := strings.Repeat(" ", 24)
			if !c.at.IsZero() {
				when = c.at.UTC().Format("2006-01-02T15:04:05.000Z")
			}
			fmt.Fprintf(&b, "  %s  %s\n", when, c.text)
		}
	}
	for _, text := range s.Now {
		fmt.Fprintf(&b, "  now: %s\n", printable(text))
	}
	if s.More {
		b.WriteString("\nThere is more; the newest are told.\n")
	}
	return b.String()
}

// withdrawnText says why a clean does not count any more, and what comes next.
func withdrawnText(o pipeline.Outcome, w pipeline.Withdrawn) string {
	text := fmt.Sprintf("the clean of the line at %s does not count, for its address %s turned out blind; ", printable(w.Of), printable(o.Address))
	if w.At == "" {
		return text + "it is journaled again in a moment"
	}
	return text + "it is pushed again by the line at " + printable(w.At)
}

// outcomeText returns one outcome of a story as text.
func outcomeText(o pipeline.Outcome) string {
	what := string(o.Verdict)
	if o.Outcome != pipeline.Done {
		what = o.Outcome
	}
	text := fmt.Sprintf("%-12s %s:", what, printable(o.Scanner))
	for _, more := range []string{o.Signature, o.Reason} {
		if more != "" {
			text += " " + printable(more) + ","
		}
	}
	if o.Cached {
		text += " from the cache,"
	}
	if o.SHA256 != "" {
		text += " sha256 " + printable(o.SHA256) + ","
	}
	return fmt.Sprintf("%s tries %d, %s", text, o.Tries, o.Took.Round(time.Microsecond))
}
