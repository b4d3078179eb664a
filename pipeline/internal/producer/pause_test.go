// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
)

// TestSweepsAdaptWhereOthersWrite: never under ten seconds, a tenth of the time at most,
// never later than sweep; and what the operator set is obeyed.
func TestSweepsAdaptWhereOthersWrite(t *testing.T) {
	for _, c := range []struct {
		name      string
		tree      config.Tree
		elsewhere bool
		took      time.Duration
		want      time.Duration
	}{
		{"a small tree", config.Tree{Sweep: time.Hour, Adapts: true}, true, time.Millisecond, 10 * time.Second},
		{"a large tree", config.Tree{Sweep: time.Hour, Adapts: true}, true, 20 * time.Second, 3 * time.Minute},
		{"a very large tree", config.Tree{Sweep: time.Hour, Adapts: true}, true, 3 * time.Hour, time.Hour},
		{"an own file system", config.Tree{Sweep: time.Hour, Adapts: true}, false, time.Millisecond, time.Hour},
		{"it is set", config.Tree{Sweep: time.Minute}, true, time.Millisecond, time.Minute},
		{"only after doubts", config.Tree{Sweep: -1}, true, time.Millisecond, -1},
	} {
		if d := pauseAfter(c.tree, c.elsewhere, c.took); d != c.want {
			t.Errorf("%s: %v, want %v", c.name, d, c.want)
		}
	}
}
