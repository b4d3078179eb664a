// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/watch"
)

// refusing is a folder. While now is true none of its files can be opened.
type refusing struct {
	journal.Folder
	now bool
}

func (r *refusing) Open(name string, flag int) (journal.File, error) {
	if r.now {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.Folder.Open(name, flag)
}

// telling is a lane, with the outcomes that a ledger tells of it in some order. Beside
// them it notes each finished line one by one.
type telling struct {
	t     *testing.T
	draw  *rand.Rand
	s     *journal.Series
	dir   *refusing
	lines []journal.Pos // may get an outcome, and have none yet
	holes []journal.Pos // never get one
	told  map[journal.Pos]bool
	now   time.Time
	n     int
}

func newTelling(t *testing.T, seed uint64) (*telling, func() journal.Tail) {
	t.Helper()
	k := &telling{t: t, draw: rand.New(rand.NewPCG(seed, 2)), told: map[journal.Pos]bool{}, now: time.Unix(1800000000, 0)}
	cfg := journal.Config{Disk: disktest.New(), Dir: "/journal", Base: journal.Base(journal.Live), Lane: journal.Live, CutSize: 3000}
	apart := seed%20 == 0 // read as `push` reads the lines of `watch`
	if apart {
		cfg.Disk, cfg.Dir = journal.OS, t.TempDir()
	}
	var err error
	if k.s, err = journal.OpenSeries(cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.s.Close() })
	k.dir = &refusing{Folder: k.s.Folder()}
	return k, func() journal.Tail {
		if apart {
			return journal.NewFollower(k.s.Folder(), cfg.Base)
		}
		return k.s
	}
}

// append appends a line of a random kind.
func (k *telling) append() {
	k.n++
	s := anEvent(fmt.Sprintf("/t/%d%s", k.n, strings.Repeat("x", k.draw.IntN(60))), int64(k.n), watch.Time{Sec: 1})
	kind := k.draw.IntN(20)
	switch kind {
	case 0, 1:
		s.For = "another"
	case 2:
		s.For = "one"
	}
	text := sample.AppendLine(nil, s)
	switch kind {
	case 3:
		text[10] ^= 1 // the id does not fit any more
	case 4:
		text = []byte(s.Path + "\n")
	case 5:
		text = []byte(`{"for":"another","half a li` + "\n")
	case 6:
		if k.draw.IntN(20) == 0 {
			text = append([]byte(strings.Repeat("y", journal.MaxLine+k.draw.IntN(100))), text...)
		}
	}
	at, _, err := k.s.Append(text)
	if err != nil {
		k.t.Fatal(err)
	}
	switch hole := k.draw.IntN(10) == 0; {
	case kind == 0 || kind == 1 || kind == 3 || kind == 5 || len(text) >= journal.MaxLine:
	case hole:
		k.holes = append(k.holes, at)
	default:
		k.lines = append(k.lines, at)
	}
}

// tell tells g of one of the oldest lines; sometimes of a much later one, or of a place
// at which no line begins.
func (k *telling) tell(g *Gathering) {
	if len(k.lines) == 0 {
		return
	}
	i := k.draw.IntN(min(len(k.lines), 8))
	if k.draw.IntN(10) == 0 {
		i = k.draw.IntN(len(k.lines))
	}
	at := k.lines[i]
	switch k.draw.IntN(30) {
	case 0:
		g.Add(context.Background(), journal.Pos{Segment: at.Segment, Offset: at.Offset + 1 + k.draw.Int64N(3)}) // no line is as short
	case 1:
		g.Add(context.Background(), journal.Pos{Segment: at.Segment + 1000, Offset: at.Offset})
	case 2:
		g.Add(context.Background(), at) // pushed twice
	}
	g.Add(context.Background(), at)
	k.told[at] = true
	k.lines = append(k.lines[:i:i], k.lines[i+1:]...)
}

// TestRangesHoldWhatIsToldOneByOne: finished lines are passed over, and lines without
// an outcome are not. That holds in whatever order outcomes are told, lines are
// appended, segments are cut and places are folded.
func TestRangesHoldWhatIsToldOneByOne(t *testing.T) {
	inMemory(t)
	t.Parallel()
	taken, left := 0, 0
	for seed := range uint64(80) {
		k, tail := newTelling(t, seed)
		cursor := journal.Pos{}
		for range k.draw.IntN(20) {
			k.append()
		}
		if k.draw.IntN(2) == 0 && len(k.holes) > 0 {
			cursor = k.holes[len(k.holes)-1]
		}
		lines, err := journal.NewReader(k.dir, journal.Base(journal.Live), cursor, tail(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		g := NewGathering("one", cursor, lines, 1+k.draw.IntN(40))
		refuses := seed%5 == 1
		for range 400 {
			switch k.draw.IntN(20) {
			default:
				k.append()
			case 0:
				k.now = k.now.Add(time.Minute)
				if err := k.s.Cut(k.now); err != nil {
					t.Fatal(err)
				}
			case 1:
				k.dir.now = refuses && !k.dir.now
			case 2, 3, 4, 5, 6, 7, 8, 9, 10:
				k.tell(g)
			}
		}
		f := g.End(t.Context())
		k.dir.now = false
		a, b := k.hold(&f, cursor, tail(), !refuses)
		taken, left = taken+a, left+b
		lines.Close()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if taken < 4000 || left < 2000 {
		t.Errorf("%d lines were passed over and %d not: this shows little", taken, left)
	}
}

// hold reads the lane from its cursor on, as a consumer does, and compares each line
// with what was told.
func (k *telling) hold(f *Finished, cursor journal.Pos, tail journal.Tail, folded bool) (taken, left int) {
	k.t.Helper()
	r, err := journal.NewReader(k.s.Folder(), journal.Base(journal.Live), cursor, tail, slog.New(slog.DiscardHandler))
	if err != nil {
		k.t.Fatal(err)
	}
	defer r.Close()
	spans := count(*f)
	until, runs, end := f.Until, 0, journal.Pos{}
	for {
		line, ok, err := r.Next(context.Background())
		if err != nil {
			k.t.Fatal(err)
		}
		if !ok {
			break
		}
		s, err := sample.ParseLine(line.Text)
		is := f.Take(line)
		if is {
			taken++
		} else {
			left++
		}
		// A line that cannot be read now may be readable the next time.
		passes := err == nil && !line.Long && sample.Passes(s, "one")
		if is != k.told[line.At] && !(is && passes) {
			k.t.Errorf("line %v: passed over is %v, it has an outcome is %v", line.At, is, k.told[line.At])
		}
		if k.told[line.At] && !line.At.Before(until) {
			k.t.Errorf("line %v is finished, and only those before %v are said to be", line.At, until)
		}
		if k.told[line.At] || passes {
			if line.At != end {
				runs++
			}
			end = line.After
		}
	}
	if n := count(*f); folded && (n > 0 || spans > runs) {
		k.t.Errorf("%d ranges for %d stretches of lines, and %d are left behind the last line", spans, runs, n)
	}
	return taken, left
}

func count(f Finished) (n int) {
	for _, s := range f.front {
		n += len(s.spans)
	}
	return n
}

// TestOutcomesAheadOfACursorAreRanges: many outcomes ahead of a few lines without one
// leave one range for each stretch and segment. Never more places are held one by one
// than the limit says.
func TestOutcomesAheadOfACursorAreRanges(t *testing.T) {
	inMemory(t)
	t.Parallel()
	const lines, workers = 300000, 16
	log, d := slog.New(slog.DiscardHandler), disktest.New()
	led, err := Open(d, "/ledger", Bounds{Keep: 1, Max: -1, MinFree: -1}, log)
	must(t, err)
	defer led.Close()
	l, err := journal.OpenSeries(journal.Config{Disk: d, Dir: "/journal", Base: journal.Base(journal.Live), Lane: journal.Live, CutSize: 8 << 20}, log)
	must(t, err)
	defer l.Close()
	holes := map[int]bool{0: true, 7: true, 100000: true, 100001: true, 299000: true}
	var at []journal.Pos
	for n := 0; n < lines; n += 20000 {
		var batch [][]byte
		for i := range 20000 {
			batch = append(batch, sample.AppendLine(nil, anEvent(fmt.Sprint("/t/", n+i), 1, watch.Time{Sec: 1})))
		}
		next, _, err := l.Append(batch...)
		must(t, err)
		for _, b := range batch {
			at = append(at, next)
			next.Offset += int64(len(b))
		}
	}
	// Workers finish in random order.
	draw := rand.New(rand.NewPCG(1, 1))
	var batch []sample.Outcome
	for n := 0; n < lines; n += workers {
		for _, i := range draw.Perm(min(workers, lines-n)) {
			if !holes[n+i] {
				batch = append(batch, sample.Outcome{Time: time.Unix(1800000000, 0), Scanner: "one", Path: fmt.Sprint("/t/", n+i), Outcome: sample.Gone, Tries: 1, At: sample.At{Lane: journal.Live, Pos: at[n+i]}})
			}
		}
		if len(batch) > 20000 || n+workers >= lines {
			must(t, led.Record(batch))
			batch = batch[:0]
		}
	}
	whole, err := journal.NewReader(l.Folder(), journal.Base(journal.Live), journal.Pos{}, l, log)
	must(t, err)
	defer whole.Close()
	g := NewGathering("one", journal.Pos{}, whole, 10000)
	must(t, led.ReadBack(t.Context(), Mark{}, func(_ string, at sample.At, _ []byte) { g.Add(t.Context(), at.Pos) }))
	left := g.End(t.Context())
	segments := int(l.Durable().Segment - at[0].Segment + 1)
	if n := count(left); n > len(holes)+segments {
		t.Errorf("%d ranges for %d outcomes with %d holes in %d segments", n, lines-len(holes), len(holes), segments)
	}
	r, err := journal.NewReader(l.Folder(), journal.Base(journal.Live), journal.Pos{}, l, log)
	must(t, err)
	defer r.Close()
	for i := range lines {
		line, ok, err := r.Next(t.Context())
		if err != nil || !ok {
			t.Fatalf("line %d: %v", i, err)
		}
		if left.Take(line) == holes[i] {
			t.Fatalf("line %d: it has no outcome is %v, and passed over is the same", i, holes[i])
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inMemory skips a test when the tests run for a second time, on another system: its
// disk is in memory and the same everywhere.
func inMemory(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("its disk is in memory and the same on every system")
	}
}

// anEvent returns a sample that an event noticed.
func anEvent(path string, size int64, mtime watch.Time) sample.Sample {
	s := sample.OfFile(path, size, mtime)
	s.Seen, s.Via = time.Unix(1700000000, 123456789).UTC(), sample.ViaEvent
	return s
}
