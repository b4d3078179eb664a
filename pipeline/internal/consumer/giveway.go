// SPDX-License-Identifier: Apache-2.0

package consumer

import "time"

const (
	giveWayMost = 8           // so many lines of a path in a row give way to later ones
	giveWayFor  = time.Minute // and for so long
)

// paths knows the paths of all lines that are handed out and not finished. lines.mu
// guards it.
type paths map[string]*ofPath

// ofPath is what is known of the open lines of one path.
type ofPath struct {
	open   int       // how many are handed out and not finished
	newest *push     // the one that was handed out last
	ways   int       // how many gave way in a row
	since  time.Time // when the first of these did
}

// opened notes that p is handed out.
func (l paths) opened(p *push) {
	o := l[p.sample.Path]
	if o == nil {
		o = &ofPath{}
		l[p.sample.Path] = o
	}
	o.open++
	o.newest = p
}

// finished notes that p has its outcome.
func (l paths) finished(p *push) {
	o := l[p.sample.Path]
	if o == nil {
		return
	}
	if o.newest == p {
		o.newest = nil
	}
	if o.open--; o.open == 0 {
		delete(l, p.sample.Path)
	}
}

// givesWay implements intake.
func (l *lines) givesWay(p *push) (gives, asFound bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paths.givesWay(p)
}

// givesWay is as intake has it.
func (l paths) givesWay(p *push) (gives, asFound bool) {
	o := l[p.sample.Path]
	if o == nil || o.newest == nil || o.newest == p {
		return false, false
	}
	if o.ways == 0 {
		o.since = time.Now()
	}
	if o.ways >= giveWayMost || time.Since(o.since) >= giveWayFor {
		o.ways = 0
		return false, true
	}
	o.ways++
	return true, false
}
