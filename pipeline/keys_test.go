// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// history is the state folder of a service that ran for long. The test writes it
// without running a pipeline.
type history struct {
	tb    testing.TB
	c     Config
	p     *Pipeline
	lanes *journal.Lanes
	led   *ledger.Ledger
	now   time.Time
	lines [][]byte
	outs  []sample.Outcome // one for each line; write sets their places
	tries []sample.Try
}

// counted is a disk that counts the bytes that are read from segments.
type counted struct {
	journal.Disk
	read atomic.Int64
}

// OpenFolder implements journal.Disk.
func (d *counted) OpenFolder(dir string) (journal.Folder, error) {
	f, err := d.Disk.OpenFolder(dir)
	return countedFolder{f, d}, err
}

type countedFolder struct {
	journal.Folder
	d *counted
}

// Open implements journal.Folder.
func (f countedFolder) Open(name string, flag int) (journal.File, error) {
	file, err := f.Folder.Open(name, flag)
	return countedFile{file, f.d}, err
}

type countedFile struct {
	journal.File
	d *counted
}

// ReadAt implements journal.File.
func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.d.read.Add(int64(n))
	return n, err
}

// storyHolds is how many lines, tries or outcomes a Story holds at most.
const storyHolds = 1000

// asJSON returns the exported part of s.
func asJSON(t *testing.T, s Story) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newHistory(tb testing.TB) *history {
	h := &history{tb: tb, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	p, err := New(Config{State: tb.TempDir(), Trees: []config.Tree{{Path: tb.TempDir()}}, Journal: config.Journal{MinFree: -1}})
	if err != nil {
		tb.Fatal(err)
	}
	p.c.disk.Disk = &counted{Disk: p.c.disk.Disk}
	h.p, h.c = p, p.c
	if h.lanes, err = journal.OpenLanes(journal.Config{Disk: h.c.disk, Dir: h.c.Journal.Dir}, time.Minute, h.c.Log); err != nil {
		tb.Fatal(err)
	}
	if h.led, err = ledger.Open(h.c.disk, filepath.Join(h.c.State, "ledger"), ledger.Bounds{Keep: 400, Max: -1, MinFree: -1}, h.c.Log); err != nil {
		tb.Fatal(err)
	}
	return h
}

// judged adds a line for s and a clean verdict for it.
func (h *history) judged(s sample.Sample, sum string) {
	h.ends(s, sample.Outcome{SHA256: sum, Outcome: sample.Done, Verdict: "clean", Tries: 1})
}

// ends adds a line for s and its outcome.
func (h *history) ends(s sample.Sample, o sample.Outcome) {
	h.now = h.now.Add(time.Second)
	line := sample.AppendLine(nil, s)
	if s.Bare() {
		line = []byte(s.Path + "\n")
	}
	o.Time, o.ID, o.Path, o.Size, o.Scanner = h.now, s.ID, s.Path, s.Size, config.DefaultScanner
	for i := range o.Tries - 1 {
		h.tries = append(h.tries, sample.Try{Time: h.now, ID: s.ID, Scanner: o.Scanner, Path: s.Path, Try: i + 1, Reason: "refused: " + strings.Repeat("no ", 100), At: sample.At{Pos: journal.Pos{Offset: int64(len(h.outs))}}})
	}
	h.lines, h.outs = append(h.lines, line), append(h.outs, o)
}

// write writes the lines, outcomes and tries that were added.
func (h *history) write() {
	h.tb.Helper()
	at, _, err := h.lanes.Lane(journal.Live).Append(h.lines...)
	if err != nil {
		h.tb.Fatal(err)
	}
	for k := range h.outs {
		h.outs[k].At = sample.At{Lane: journal.Live, Pos: at}
		at.Offset += int64(len(h.lines[k]))
	}
	for _, t := range h.tries {
		t.At = h.outs[t.At.Offset].At
		if err := h.led.Tried(t); err != nil {
			h.tb.Fatal(err)
		}
	}
	if err := h.led.Record(h.outs); err != nil {
		h.tb.Fatal(err)
	}
	h.lines, h.outs, h.tries = nil, nil, nil
}

// cut writes, and seals the segments.
func (h *history) cut() {
	h.tb.Helper()
	h.write()
	if err := errors.Join(h.lanes.Lane(journal.Live).Cut(h.now), h.led.Cut(h.now)); err != nil {
		h.tb.Fatal(err)
	}
}

func (h *history) end() {
	h.tb.Helper()
	h.write()
	if err := errors.Join(h.lanes.Close(), h.led.Close()); err != nil {
		h.tb.Fatal(err)
	}
}

// keys writes the keys of the segment called only, or of all if it is empty.
func (h *history) keys(only string) {
	h.tb.Helper()
	for base, dir := range map[string]string{journal.Base(journal.Live): h.c.Journal.Dir, ledger.Base: filepath.Join(h.c.State, "ledger"), ledger.TriesBase: filepath.Join(h.c.State, "ledger")} {
		d, err := h.c.disk.OpenFolder(dir)
		if err != nil {
			h.tb.Fatal(err)
		}
		names, err := journal.Segments(d, base)
		for _, name := range names[:len(names)-1] {
			if err == nil && (only == "" || name == only) {
				err = journal.SaveKeys(context.Background(), d, name, sample.KeysOf)
			}
		}
		if err = errors.Join(err, d.Close()); err != nil {
			h.tb.Fatal(err)
		}
	}
}

// TestLooksAreTheSameWithKeys: a look with keys finds the same as one that reads whole
// segments, and reads little of them.
func TestLooksAreTheSameWithKeys(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	segments := 12
	if testing.Short() {
		segments = 4
	}
	root := h.c.Trees[0].Path + string(filepath.Separator)
	often, bare := root+"often", root+"bare"
	odd := []string{often, root + "tab\there", root + "not utf \xff", root + "rlo\u202etxt", root + `quote"`, root + `"path":"/often"`, root + `"outcome":"dead"`, root + strings.Repeat("n", 255)}
	common := strings.Repeat("c0", 32)
	looks := append([]string{common, strings.Repeat("d", 64), strings.Repeat("e", 16), bare, root + "never", root + "few 3", "live:1:999999"}, odd...)
	for i := range segments {
		for k := range 2000 {
			s := noticed(fmt.Sprintf("%sin %d %d", root, i, k), 4096, watch.Time{Sec: int64(k)})
			s.Seen = h.now
			switch {
			case k%200 == 0 && k/200 < len(odd):
				s = noticed(odd[k/200], int64(i), watch.Time{Sec: int64(i)})
				s.Seen = h.now
				h.ends(s, sample.Outcome{SHA256: fmt.Sprintf("%064x", k), Outcome: sample.Dead, Reason: `"at":"live:1:0" and more`, Tries: 3})
				if i == 2 {
					looks = append(looks, s.ID, fmt.Sprintf("%064x", k))
				}
			case k%500 == 1:
				h.ends(sample.Sample{Path: bare}, sample.Outcome{Outcome: sample.Gone})
			case k%500 == 2:
				s = noticed(fmt.Sprint(root, "few ", k), 1, watch.Time{})
				s.Seen, s.Via, s.For = h.now, sample.ViaManual, config.DefaultScanner
				h.ends(s, sample.Outcome{Outcome: sample.Dead, Tries: 2})
			case k%2 == 0:
				h.judged(s, common)
			default:
				h.judged(s, fmt.Sprintf("%064x", i*1000+k))
			}
		}
		looks = append(looks, h.place(300))
		h.cut()
	}
	h.end()
	stories := map[string]Story{}
	for _, key := range looks {
		s, err := h.p.Why(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		stories[key] = s
	}
	dead, err := h.p.Dead(t.Context())
	if err != nil || len(dead) == 0 {
		t.Fatalf("%d dead letters, %v", len(dead), err)
	}
	if s := stories[often]; len(s.Lines) != segments || len(s.Outcomes) != segments || len(s.Tries) != 2*segments {
		t.Errorf("often: %d lines, %d outcomes, %d tries", len(s.Lines), len(s.Outcomes), len(s.Tries))
	}
	if s := stories[common]; len(s.Lines) != storyHolds || len(s.Outcomes) != storyHolds || !s.More {
		t.Errorf("common: %d lines, %d outcomes, more %v", len(s.Lines), len(s.Outcomes), s.More)
	}
	h.keys("")
	for _, key := range looks {
		disk := h.p.c.disk.Disk.(*counted)
		disk.read.Store(0)
		s, err := h.p.Why(t.Context(), key)
		if err != nil || asJSON(t, s) != asJSON(t, stories[key]) {
			t.Errorf("%q: %v, %s, and without keys %s", key, err, brief(s), brief(stories[key]))
		}
		if n := disk.read.Load(); n > int64(segments)<<18 && key != common {
			t.Errorf("%q: %d bytes were read", key, n)
		}
	}
	if again, err := h.p.Dead(t.Context()); err != nil || !reflect.DeepEqual(again, dead) {
		t.Errorf("dead letters: %v\n%+v\nand without keys\n%+v", err, again, dead)
	}
}

// brief returns how much a story holds, and the beginning of it.
func brief(s Story) string {
	return fmt.Sprintf("%d lines, %d tries, %d outcomes, %d waiting, more %v: %.500s", len(s.Lines), len(s.Tries), len(s.Outcomes), len(s.Waiting), s.More, fmt.Sprintf("%+v", s))
}

// place returns the place that the n-th added line will have.
func (h *history) place(n int) string {
	at := sample.At{Lane: journal.Live, Pos: h.lanes.Lane(journal.Live).Durable()}
	for _, line := range h.lines[:n] {
		at.Offset += int64(len(line))
	}
	return at.String()
}

// TestLinesThatAreNoneOfOurs: thousands of bare lines with a name that JSON escapes,
// and a text like a line inside a line that is far too long.
func TestLinesThatAreNoneOfOurs(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	root := h.c.Trees[0].Path + string(filepath.Separator)
	odd, planted := root+"not utf \xff", root+"planted"
	version := noticed(odd, 1, watch.Time{})
	version.Seen = h.now
	h.judged(version, "")
	for range 2500 {
		h.ends(sample.Sample{Path: odd}, sample.Outcome{Outcome: sample.Gone})
	}
	h.write()
	long := append(bytes.Repeat([]byte(root), 3*journal.MaxLine/len(root)), planted+"\n"...)
	_, _, err := h.lanes.Lane(journal.Live).Append(long)
	must(t, err)
	h.cut()
	h.end()
	for _, with := range []string{"without keys", "with keys"} {
		s, err := h.p.Why(t.Context(), odd)
		must(t, err)
		if len(s.Lines) != storyHolds || !s.More || !slices.ContainsFunc(s.Lines, func(j Journaled) bool { return !j.Sample.Bare() }) {
			t.Errorf("%s: %s", with, brief(s))
		}
		for i := 1; i+1 < len(s.Lines); i++ {
			before, _ := sample.ParseAt(s.Lines[i-1].At)
			at, _ := sample.ParseAt(s.Lines[i].At)
			if step := at.Offset - before.Offset; step != int64(len(odd)+1) {
				t.Errorf("%s: %d bytes from line %d to the next", with, step, i)
				break
			}
		}
		if s, err = h.p.Why(t.Context(), planted); err != nil || len(s.Lines) != 0 {
			t.Errorf("%s: what is within another line: %s %v", with, brief(s), err)
		}
		h.keys("")
	}
}
