// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"testing"
	"time"
)

// TestProgressTellsWhatIsLeft, where it is known.
func TestProgressTellsWhatIsLeft(t *testing.T) {
	begun := time.Now()
	for _, c := range []struct {
		of, folders int64
		after       time.Duration
		want        string
	}{
		{0, 0, 0, "0 folders so far"},
		{0, 7, time.Second, "7 folders so far"},
		{1000, 0, 0, "0 of about 1000 folders"},
		{1000, 250, 10 * time.Second, "250 of about 1000 folders, about 30s left"},
		{1000, 1200, time.Minute, "1200 of about 1000 folders"}, // there are more by now
	} {
		p := &progress{since: begun, of: c.of}
		p.folders.Store(c.folders)
		if is := p.at(begun.Add(c.after)).String(); is != c.want {
			t.Errorf("%+v: %s", c, is)
		}
	}
}
