// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline"
)

// TestAStoryTellsThatACleanIsTakenBack, and what comes next.
func TestAStoryTellsThatACleanIsTakenBack(t *testing.T) {
	clean := pipeline.Outcome{Scanner: "clamav", Path: "/a", ID: "0123456789abcdef", Outcome: pipeline.Done, Verdict: "clean", Address: "tcp:10.0.0.1:3310"}
	of := clean.At.String()
	for at, want := range map[string]string{"": "it is journaled again in a moment", "live:2:39": "it is pushed again by the line at live:2:39"} {
		text := storyText(pipeline.Story{Outcomes: []pipeline.Outcome{clean}, Withdrawn: []pipeline.Withdrawn{{Scanner: "clamav", Of: of, At: at}}})
		if !strings.Contains(text, "taken back   clamav: the clean of the line at "+of) || !strings.Contains(text, "10.0.0.1:3310 turned out blind; "+want) {
			t.Errorf("%s", text)
		}
	}
}
