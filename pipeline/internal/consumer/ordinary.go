// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"errors"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

// keptFrom reports whether a failed try of an ordinary file says nothing of that file: the
// address of the answer is kept from such files by AppArmor or SELinux, or may be, and is
// asked now. The sample is tried again all the same, for it lies in another folder than the
// canary. It uses up no try.
func (s *sights) keptFrom(a scan.Answer) bool {
	e := s.of(a.Address)
	if e == nil || a.Err == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	notOpened := errors.Is(a.Err, scan.ErrNotOpened)
	switch e.sight.Ordinary {
	case scan.No:
		return notOpened || a.Err.Kind == scan.Refused
	case scan.NotAsked, scan.NoAnswer:
		if notOpened {
			e.tried[scan.Ordinary] = time.Time{}
		}
		return notOpened
	}
	return false
}
