// SPDX-License-Identifier: Apache-2.0

package scan_test

import (
	"slices"
	"testing"

	"github.com/certpush/certpush/pipeline/scan"
)

func TestDiscard(t *testing.T) {
	s := scan.Discard{}
	if v, err := s.Ping(t.Context()); v == "" || err != nil {
		t.Errorf("ping: %q, %v", v, err)
	}
	answers := s.Scan(t.Context(), slices.Values(make([]scan.File, 2)))
	if len(answers) != 2 {
		t.Errorf("%d answers", len(answers))
	}
	for _, a := range answers {
		if a != (scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonDiscarded}) {
			t.Errorf("%+v", a)
		}
	}
}
