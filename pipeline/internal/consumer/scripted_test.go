// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// scripted is an intake. The test hands out its lines, and finds its outcomes in ends.
type scripted struct {
	forgetful
	live, backlog chan *push
	ends          []ended
	tries         []sample.Try
}

func (*scripted) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (s *scripted) fresh(lane string) <-chan *push {
	if lane == journal.Backlog {
		return s.backlog
	}
	return s.live
}

func (s *scripted) end(_ context.Context, all []ended) bool {
	s.ends = append(s.ends, all...)
	over(all)
	return true
}
func (s *scripted) tried(t sample.Try) { s.tries = append(s.tries, t) }

func (*scripted) givesWay(*push) (gives, asFound bool) { return false, false }

func (*scripted) begun(*push) {}

func (*scripted) oldest(string) *push { return nil }
