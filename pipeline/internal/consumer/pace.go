// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

const (
	leastPlaces = 2 // it begins with so many: easy on the scanner

	paceEvery = 100 * time.Millisecond // so often the number may grow
	paceLooks = time.Second            // so long is what comes out counted, before it is compared
	paceRests = 10 * time.Second       // after so long without need the number shrinks
	fileWorth = 64 << 10               // a sample counts as so many bytes beside its own
)

// pace is how many pushes may be in sessions at once. With a fixed number that is all.
// Otherwise the number follows what the scanner stands:
//
//	2 --all are taken and more wait--> doubled each 100 ms, to 64, or to what it tells
//	BUSY, connections refused, or less comes out than with fewer --> halved; then one more each second
//	fewer suffice for 10 s --> halved
//
// The time limit of one sample says nothing of the scanner, and halves nothing.
type pace struct {
	freed chan struct{} // a token: a place was given back, or there are more

	mu     sync.Mutex // guards the fields below
	auto   bool
	most   int       // how many places there ever are
	room   int       // how many there are now
	taken  int       // how many of them are taken
	wanted bool      // all were taken and more were wanted, since turned
	turned time.Time // when the number was looked at last
	needed time.Time // when all were wanted last
	steady bool      // the scanner had too much once: the number grows slowly

	out    int64     // what came out since looked, in bytes with fileWorth
	looked time.Time // when that was compared last
	before int64     // what came out in the second before that
	then   int       // with so many places; 0: not known
	eased  time.Time // when the number was halved last
}

// newPace returns the pace of a scanner, which may be Bounded.
func newPace(c config.Scanner, s scan.Scanner) *pace {
	p := &pace{freed: make(chan struct{}, 1), auto: c.Workers == 0, most: c.MostWorkers(), room: c.Workers}
	if b, is := s.(scan.Bounded); is && p.auto {
		if most := b.Most(); most > 0 {
			p.most = max(leastPlaces, min(p.most, most))
		}
	}
	if p.auto {
		p.room = leastPlaces
	}
	now := time.Now()
	p.turned, p.needed, p.looked = now, now, now
	return p
}

// take takes a place. It returns false if ctx ends first. waits reports whether a push
// waits for it.
func (p *pace) take(ctx context.Context, waits func() bool) bool {
	for !p.tryTake() {
		if waits() {
			p.want()
		}
		select {
		case <-p.freed:
		case <-ctx.Done():
			return false
		}
	}
	if !p.full() {
		signal(p.freed) // several places may have come with one token
	}
	return true
}

// tryTake takes a place if one is free.
func (p *pace) tryTake() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.room {
		return false
	}
	p.taken++
	return true
}

// want notes that a push waits for a place.
func (p *pace) want() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
}

// full reports whether all places are taken.
func (p *pace) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken >= p.room
}

// places returns how many places there are now.
func (p *pace) places() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room
}

// give gives a place back. More places may be there afterwards.
func (p *pace) give() {
	p.mu.Lock()
	p.taken--
	p.turn(time.Now())
	p.mu.Unlock()
	signal(p.freed)
}

// answered counts a sample of so many bytes that the scanner answered.
func (p *pace) answered(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out += fileWorth + size
}

// busy notes that the scanner has too much.
func (p *pace) busy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ease(time.Now())
}

// ease halves the number, at most once a second. The caller holds mu.
func (p *pace) ease(now time.Time) {
	if !p.auto || now.Sub(p.eased) < paceLooks {
		return
	}
	p.room, p.steady, p.eased, p.then = max(leastPlaces, p.room/2), true, now, 0
}

// turn lets the number follow what was seen. The caller holds mu.
func (p *pace) turn(now time.Time) {
	if !p.auto || now.Sub(p.turned) < paceEvery {
		return
	}
	p.compare(now)
	switch {
	case p.wanted && !p.steady:
		p.room = min(2*p.room, p.most)
	case p.wanted && now.Sub(p.eased) >= paceLooks:
		p.room, p.eased = min(p.room+1, p.most), now
	case !p.wanted && now.Sub(p.needed) >= paceRests:
		p.room, p.needed, p.steady, p.then = max(leastPlaces, p.room/2), now, false, 0
	}
	if p.wanted {
		p.needed = now
	}
	p.wanted, p.turned = false, now
}

// compare eases the pace if clearly less came out in the last second than in the one
// before, with fewer places, while samples waited in both. The caller holds mu.
func (p *pace) compare(now time.Time) {
	took := now.Sub(p.looked)
	if took < paceLooks {
		return
	}
	out := p.out * int64(paceLooks) / int64(took)
	if p.then > 0 && p.wanted && p.room > p.then && out < p.before/2 {
		p.ease(now)
	} else {
		p.before, p.then = out, p.room
	}
	if !p.wanted {
		p.then = 0
	}
	p.out, p.looked = 0, now
}
