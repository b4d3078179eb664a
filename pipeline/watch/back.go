// SPDX-License-Identifier: Apache-2.0

package watch

import "time"

// again is touch for a path that the receiver sends back. If that happens again and
// again, the path comes out less and less often, at last every 250 ms.
func (s *settler) again(t *tree, path string) bool {
	s.mu.Lock()
	c := s.all[path]
	if c == nil || c.phase != taken {
		s.mu.Unlock()
		return s.touch(t, path)
	}
	defer s.mu.Unlock()
	now := s.now()
	c.renew(now)
	c.step, c.back = c.back, min(c.back+1, 100)
	s.plan(c, now+s.pause(c, now))
	c.step = 0
	return true
}

// rest is again for a path that shall come out after d.
func (s *settler) rest(path string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.all[path]
	if c == nil || c.phase != taken {
		return // an event came since: it settles already
	}
	now := s.now()
	c.renew(now)
	s.plan(c, now+d)
}
