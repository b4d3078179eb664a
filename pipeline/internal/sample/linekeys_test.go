// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"slices"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestKeysOfLines: a line is found by its keys, whatever a name in it holds. A name
// that looks like a member of the line adds no key.
func TestKeysOfLines(t *testing.T) {
	t.Parallel()
	of := func(line []byte) (keys []string) {
		KeysOf(line[:len(line)-1], func(key []byte) { keys = append(keys, string(key)) })
		slices.Sort(keys)
		return keys
	}
	for _, name := range append(slices.Clone(hostile), `","id":"0000000000000000`, `\`, `\"`, `x\\`, `"at":"live:1:1"`) {
		path := "/srv/" + name
		s := anEvent(path, 1, watch.Time{})
		want := []string{"i" + s.ID, "p" + path}
		if got := of(s.appendLine(nil)); !slices.Equal(got, want) {
			t.Errorf("line: %q, want %q", got, want)
		}
		s.Via, s.For = ViaManual, name
		if got := of(s.appendLine(nil)); !slices.Equal(got, []string{want[0], "m", want[1]}) {
			t.Errorf("manual line: %q", got)
		}
		o := Outcome{ID: s.ID, Scanner: "clam", Path: path, SHA256: strings.Repeat("0", 64), Outcome: Dead, Reason: name, Signature: name, At: At{journal.Live, journal.Pos{Segment: 7, Offset: 9}}}
		if got := of(o.appendLine(nil)); !slices.Equal(got, []string{"alive:7:9", want[0], want[1], "s" + o.SHA256}) {
			t.Errorf("outcome: %q", got)
		}
		tr := Try{ID: s.ID, Scanner: "clam", Path: path, Reason: name, At: o.At}
		if got := of(tr.appendLine(nil)); !slices.Equal(got, []string{"alive:7:9", want[0], want[1]}) {
			t.Errorf("try: %q", got)
		}
		if got := of([]byte(path + "\n")); !strings.ContainsAny(name, "\n") && !slices.Equal(got, want[1:]) {
			t.Errorf("bare path: %q", got)
		}
	}
	spaced := anEvent("/srv/a", 1, watch.Time{})
	if got := of([]byte(strings.ReplaceAll(string(spaced.appendLine(nil)), `":`, `": `))); !slices.Equal(got, []string{"i" + spaced.ID, "p/srv/a"}) {
		t.Errorf("another program's line: %q", got)
	}
	if got := of([]byte("{\"segment\":1,\"lane\":\"live\",\"format\":1}\n")); len(got) != 0 {
		t.Errorf("header: %q", got)
	}
}
