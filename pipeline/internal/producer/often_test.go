// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestAPathThatIsJournaledOftenPauses: longer each time, and never over a minute. Another
// path does not.
func TestAPathThatIsJournaledOftenPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		o := newOften([]config.Tree{{Name: "t"}}, slog.New(slog.NewTextHandler(&logged, nil)))
		lines, longest := 0, time.Duration(0)
		for begun := time.Now(); time.Since(begun) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			if wait := o.pause("/t/a"); wait > 0 {
				longest = max(longest, wait)
				continue
			}
			lines++
			o.journaled(found{path: "/t/a", stat: watch.Stat{Size: int64(lines)}})
		}
		if lines < 15 || lines > 30 || longest > time.Minute {
			t.Errorf("%d lines in ten minutes, the longest pause is %v", lines, longest)
		}
		if o.pause("/t/b") != 0 {
			t.Error("another path pauses")
		}
		if n := strings.Count(logged.String(), "set quiet for the tree"); n != 1 {
			t.Errorf("the key is named %d times", n)
		}
		time.Sleep(2*time.Minute + time.Second)
		if o.pause("/t/a") != 0 {
			t.Error("it pauses although it was left alone")
		}
	})
}
