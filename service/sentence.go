// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// headline returns the sentence to read first: what waits, what is left out, and what is
// down. Status, its JSON, the page, /readyz and the service manager all say this one.
func headline(s pipeline.Status, now time.Time) string {
	text := pushed(s)
	if left := leftOut(s); len(left) > 0 {
		text += " " + strings.Join(left, ", ") + "."
	}
	var dead int64
	for _, c := range s.Scanners {
		dead += c.DeadLetters
	}
	if dead > 0 {
		text += " " + number(dead, "dead letter", "dead letters") + ", see certpush dead list."
	}
	if bad := troubles(s, now); len(bad) > 0 {
		text += " " + strings.Join(bad, "; ") + "."
	}
	return text
}

// pushed says what waits. It says that everything is pushed only where that is known: each
// tree was swept, and nothing keeps files from being journaled.
func pushed(s pipeline.Status) string {
	var waiting int64
	oldest := 0.0
	for _, c := range s.Scanners {
		waiting = max(waiting, c.Waiting)
		oldest = max(oldest, c.OldestWaiting)
	}
	known := true
	for _, t := range s.Trees {
		known = known && t.Watched && t.Unread == "" && t.LastSweep != nil
	}
	waits := fmt.Sprintf("%s, the oldest for %s.", number(waiting, "sample waits", "samples wait"), age(oldest))
	switch {
	case s.Started.IsZero():
		return "Starting."
	case len(s.Trees)+len(s.Scanners) == 0 && len(s.NotReady) > 0:
		return "Nothing is journaled or pushed now."
	case s.IntakeStopped != "" && waiting > 0:
		return sentence(s.IntakeStopped) + " " + waits
	case s.IntakeStopped != "":
		return sentence(s.IntakeStopped) + " What was journaled is pushed."
	case waiting > 0:
		return waits
	case len(s.Trees) == 0 && s.Half != "push":
		return "No tree is watched: name one in a [[watch]], or give -d TREE."
	case len(s.Scanners) == 0:
		return number(len(s.Trees), "tree is", "trees are") + " watched."
	case s.Half == "push":
		return "Everything that is journaled is pushed."
	case !known:
		return "What was journaled is pushed; not every tree has been looked through."
	}
	return "Everything that has settled is pushed."
}

// sentence returns text with a capital letter and a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + printable(text[1:]) + "."
}

// leftOut says what is not journaled, and why.
func leftOut(s pipeline.Status) (all []string) {
	settling, excluded, unread, unwatched := 0, 0, 0, 0
	var first pipeline.Trouble
	for _, t := range s.Trees {
		settling, excluded = settling+t.Settling, excluded+t.Excluded
		switch {
		case t.Unread != "": // the tree itself is said to be unread
		case t.Limit != "":
			unwatched += t.Unwatched
		default:
			unread += t.Unwatched
		}
		if first.Path == "" && len(t.Troubles) > 0 && t.Limit == "" {
			first = t.Troubles[0]
		}
	}
	if settling > 0 {
		all = append(all, number(settling, "file is being written", "files are being written"))
	}
	if excluded > 0 {
		all = append(all, number(excluded, "is excluded by rule", "are excluded by rule"))
	}
	if unwatched > 0 {
		all = append(all, number(unwatched, "folder is swept each minute and not watched", "folders are swept each minute and not watched"))
	}
	if unread > 0 {
		text := number(unread, "folder cannot be read", "folders cannot be read")
		if first.Path != "" {
			text = fmt.Sprintf("%s: %s, %s", text, printable(first.Path), printable(first.Error))
		}
		all = append(all, text)
	}
	return all
}

// troubles says what needs an operator.
func troubles(s pipeline.Status, now time.Time) (bad []string) {
	for _, c := range s.Scanners {
		switch {
		case c.Paused:
			bad = append(bad, fmt.Sprintf("scanner %s is paused, see certpush resume", printable(c.Name)))
		case c.Blind:
			bad = append(bad, fmt.Sprintf("scanner %s has been blind for %s, see certpush scanner test", printable(c.Name), span(now.Sub(c.Since))))
		case !c.Up:
			text := fmt.Sprintf("scanner %s has been down for %s", printable(c.Name), span(now.Sub(c.Since)))
			if strings.HasPrefix(c.Why, "loading or stalled") {
				text += ", " + printable(c.Why)
			}
			bad = append(bad, text)
		}
	}
	for _, c := range s.Scanners {
		for _, a := range c.Sights {
			if a.Plain == pipeline.Yes && a.Ordinary == pipeline.No {
				bad = append(bad, fmt.Sprintf("scanner %s is kept from ordinary files at %s, so samples over 256 KiB may be refused: see certpush scanner test", printable(c.Name), printable(a.Address)))
			}
			if a.Plain == pipeline.No && !c.Blind {
				bad = append(bad, fmt.Sprintf("scanner %s is blind at %s and sends it nothing, see certpush scanner test", printable(c.Name), printable(a.Address)))
			}
		}
	}
	for _, t := range s.Trees {
		switch {
		case t.Unread != "":
			bad = append(bad, fmt.Sprintf("tree %s cannot be read, %s: let the user that certpush runs as read %s", printable(t.Name), printable(t.Unread), printable(t.Path)))
		case !t.Watched:
			bad = append(bad, fmt.Sprintf("tree %s is not watched, see that %s is there", printable(t.Name), printable(t.Path)))
		}
		if t.Limit != "" {
			bad = append(bad, fmt.Sprintf("tree %s: %s", printable(t.Name), printable(t.Limit)))
		}
	}
	return bad
}
