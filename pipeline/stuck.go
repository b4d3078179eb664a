// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"time"
)

// tendStuck is how long the producer's care of index and disk may take before it
// counts as stuck. A disk that refuses is waited for, and does not count.
const tendStuck = time.Minute

// streamFor is how long one huge sample may be on its way to a scanner. Where
// nothing comes through any more the try's own timeout ends it.
const streamFor = 12 * time.Hour

// Stuck is nil while the pipeline moves, or has no reason to. It says what does
// not move although it should: only a start anew helps then. It takes the locks
// that the work takes, so where two of them wait for each other it does not
// return at all.
func (p *Pipeline) Stuck() error {
	p.Status()
	prod, consumers, _ := p.halves()
	now := time.Now()
	var errs []error
	if prod != nil {
		if at := time.Unix(0, prod.tended.Load()); now.Sub(at) > tendStuck && prod.index.Stalled() == nil {
			errs = append(errs, fmt.Errorf("the producer has not looked after its index since %s", at.Format(time.TimeOnly)))
		}
	}
	for _, c := range consumers {
		errs = append(errs, c.stuck(now))
	}
	return errors.Join(errs...)
}

// stuck says whether samples wait that could be pushed and nothing moves. Two
// tries and a wait between them may pass without anything to be seen.
func (c *consumer) stuck(now time.Time) error {
	s := c.status()
	if s.Waiting == 0 || !c.health.open() {
		c.moved.Store(now.UnixNano())
		return nil
	}
	at := time.Unix(0, c.moved.Load())
	limit := 2*c.c.Timeout + c.c.BackoffMax + time.Minute
	if s.InFlight > 0 {
		limit += streamFor
	}
	if c.c.Rate.N > 0 {
		limit += c.c.Rate.Per / time.Duration(c.c.Rate.N)
	}
	if now.Sub(at) <= limit {
		return nil
	}
	return fmt.Errorf("%d samples wait for scanner %s, and none was pushed since %s", s.Waiting, c.c.Name, at.Format(time.TimeOnly))
}
