// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// A mix is a pipeline to which everything happens that may happen to one, drawn by
// chance from a seed: files come, grow, move and go; events are lost and come late; the
// service is reloaded, paused and killed; its disk refuses, is full, and loses what was
// not synced; its scanners fail; hours pass. After each mix all that refused works
// again, and then the product's own proof and the scanners' count must agree that no
// file is lost.
//
// Time runs in synctest, the state lies on a disk in memory, events are handed over by
// the test, and the scanners are in this process. So the same seed gives the same
// trace. What it cannot mix is a clock that is set back (see TestClockJumps...) and a
// refusing disk of Pebble's (see TestFaultAtEveryOperation): Pebble waits for its disk
// under a mutex, and in synctest no time passes then.
type mix struct {
	t     *testing.T
	draw  *rand.Rand
	trace []string
	drop  string
	next  int

	files  *disktest.Disk
	pebble *vfs.MemFS
	forget bool // a kill loses what was not synced

	judges []*judge
	events []string // paths of which an event is on its way
	p      *Pipeline
	stop   context.CancelFunc
	ended  chan error

	mu    sync.Mutex // guards the fields below
	fault int        // so many operations of the state's files fail
	wrong []string
}

// judge is a scanner that a mix has at its command.
type judge struct {
	name string

	mu   sync.Mutex // guards the fields below
	mood scan.Kind  // 0: it judges
	dull bool       // it calls everything clean
	seen map[string]int
}

// evil stands in the files that a judge must call malicious.
const evil = "evil"

// says returns the verdict on a text, as that of a scanner that sees all canaries.
func (j *judge) says(text []byte) scan.Answer {
	j.mu.Lock()
	defer j.mu.Unlock()
	bad := bytes.Contains(text, []byte(evil)) || bytes.Contains(text, []byte(eicar()))
	if z, err := zip.NewReader(bytes.NewReader(text), int64(len(text))); err == nil {
		for _, f := range z.File {
			if f.Flags&1 != 0 && !j.dull {
				return scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonEncrypted}
			}
			if r, err := f.Open(); err == nil {
				inside, _ := io.ReadAll(r) // of an encrypted one: nothing
				bad = bad || bytes.Contains(inside, []byte(eicar()))
			}
		}
	}
	if bad && !j.dull {
		return scan.Answer{Verdict: scan.Malicious, Signature: "Mix.Evil"}
	}
	return scan.Answer{Verdict: scan.Clean}
}

func (j *judge) turns(dull bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dull = dull
}

func (j *judge) isDull() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dull
}

func (j *judge) state() scan.Kind {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mood
}

// Ping implements scan.Scanner.
func (j *judge) Ping(context.Context) (string, error) {
	if mood := j.state(); mood == scan.Down || mood == scan.Sick {
		return "", &scan.Failure{Kind: mood, Err: fmt.Errorf("test: %v", mood)}
	}
	return "judge 1", nil
}

// Key implements scan.Scanner.
func (j *judge) Key(context.Context) string { return "" }

// Scan implements scan.Scanner. It counts the bytes that it gave a verdict of.
func (j *judge) Scan(_ context.Context, files iter.Seq[scan.File]) (answers []scan.Answer) {
	mood := j.state()
	for f := range files {
		h := sha256.New()
		text := make([]byte, f.Size)
		if _, err := f.Reader().ReadAt(text, 0); err != nil && f.Size > 0 {
			answers = append(answers, scan.Answer{Err: &scan.Failure{Kind: scan.Unread, Err: err}})
			continue
		}
		h.Write(text)
		if mood != 0 {
			answers = append(answers, scan.Answer{Err: &scan.Failure{Kind: mood, After: time.Second, Err: fmt.Errorf("test: %v", mood)}})
			continue
		}
		j.mu.Lock()
		j.seen[hex.EncodeToString(h.Sum(nil))]++
		j.mu.Unlock()
		answers = append(answers, j.says(text))
	}
	return answers
}

func newMix(t *testing.T, seed uint64) *mix {
	m := &mix{
		t: t, draw: rand.New(rand.NewPCG(seed, 7)), drop: filepath.Join(t.TempDir(), "drop"), files: disktest.New(), pebble: vfs.NewCrashableMem(), forget: seed%2 == 0,
		judges: []*judge{{name: "one", seen: map[string]int{}}, {name: "two", seen: map[string]int{}}},
	}
	for i := range 3 {
		must(t, os.MkdirAll(filepath.Join(m.drop, fmt.Sprint("d", i)), 0o755))
	}
	return m
}

// start starts the service on what the disk holds.
func (m *mix) start() {
	m.files.Before = func(op disktest.Op) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.fault > 0 {
			m.fault--
			return syscall.EIO
		}
		return nil
	}
	c := Config{
		State: rigState, Trees: []config.Tree{{Path: m.drop, Name: "drop", Engine: "sweep"}}, Log: slog.New(slog.DiscardHandler),
		Journal: config.Journal{CutSize: 900, Keep: 1}, Ledger: config.Ledger{Keep: 1},
		disk: store.Disk{Disk: m.files, Pebble: m.pebble}, nap: time.Sleep,
		scanner: func(s config.Scanner, _ *slog.Logger) (scan.Scanner, error) {
			return m.judges[slices.IndexFunc(m.judges, func(j *judge) bool { return j.name == s.Name })], nil
		},
	}
	for _, j := range m.judges {
		// The first is never asked with canaries: a sample waits for nothing but for its turn.
		s := config.Scanner{Name: j.name, Type: "discard", Workers: 1 + m.draw.IntN(4)}
		if j == m.judges[1] {
			s.Type, s.Addresses, s.MaxSize = "clamd", []string{"tcp:judge:1"}, scan.Small
		}
		c.Scanners = append(c.Scanners, s)
	}
	p, err := New(c)
	must(m.t, err)
	ctx, stop := context.WithCancel(context.Background())
	m.p, m.stop, m.ended = p, stop, make(chan error, 1)
	go func() { m.ended <- p.Run(ctx) }()
}

// halt stops the service as a manager does.
func (m *mix) halt() {
	m.stop()
	if err := <-m.ended; err != nil && !store.Refuses(err) { // a stop tells that the disk refuses
		m.say("the service stopped with %v", err)
	}
}

// kill ends the service as kill -9 does, or as a power cut: it goes on with what its
// disk holds at this moment.
func (m *mix) kill() {
	pebble, files := m.pebble.CrashClone(vfs.CrashCloneCfg{}), m.files.Kill()
	if m.forget {
		files = m.files.Cut(50 * m.draw.IntN(3))
	}
	m.files.SetFree(1 << 50) // nobody hears of what the killed one still does
	m.mu.Lock()
	m.fault = 0
	m.mu.Unlock()
	m.stop()
	<-m.ended // it may tell an error, nobody hears it
	m.files, m.pebble, m.events = files, pebble, nil
}

func (m *mix) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// paths lists the files of the tree, below it, in order.
func (m *mix) paths() (all []string) {
	must(m.t, filepath.WalkDir(m.drop, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	}))
	return all
}

// one draws a file, "" where there is none.
func (m *mix) one() string {
	all := m.paths()
	if len(all) == 0 {
		return ""
	}
	return all[m.draw.IntN(len(all))]
}

// happened puts an event on its way, or loses it; the system says that it lost some.
func (m *mix) happened(path string) {
	if m.draw.IntN(6) == 0 {
		m.note("lost event")
		_ = m.p.Sweep("") // it may not have begun yet
		return
	}
	m.events = append(m.events, path)
}

// deliver hands over events, not always in order.
func (m *mix) deliver(n int) {
	for range min(n, len(m.events)) {
		i := m.draw.IntN(min(3, len(m.events)))
		if prod := m.p.halves().producer; prod != nil {
			prod.Again(m.events[i])
		}
		m.events = slices.Delete(m.events, i, i+1)
	}
}

func (m *mix) note(format string, args ...any) {
	m.trace = append(m.trace, strings.ReplaceAll(fmt.Sprintf(format, args...), m.drop+"/", ""))
}

// fresh returns what a file may hold that no other does.
func (m *mix) fresh() []byte {
	m.next++
	what := "text"
	if m.next%3 == 0 {
		what = evil
	}
	return fmt.Appendf(nil, "%s %d%s", what, m.next, strings.Repeat(".", m.draw.IntN(300)))
}

// mixed is what may happen, with how often.
var mixed = []struct {
	often int
	do    func(m *mix)
}{
	{12, func(m *mix) {
		path := filepath.Join(m.drop, fmt.Sprint("d", m.draw.IntN(3)), fmt.Sprint("f", m.next))
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			path = filepath.Join(m.drop, filepath.Base(path))
		}
		m.note("drop %s", path)
		must(m.t, os.WriteFile(path, m.fresh(), 0o600))
		m.happened(path)
	}},
	{4, func(m *mix) {
		path := m.one()
		if path == "" {
			return
		}
		m.note("append to %s", path)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		must(m.t, err)
		_, err = f.Write(m.fresh())
		must(m.t, err)
		must(m.t, f.Close())
		m.happened(path)
	}},
	{3, func(m *mix) {
		path := m.one()
		if path == "" {
			return
		}
		m.next++
		to := filepath.Join(m.drop, fmt.Sprint("renamed", m.next))
		m.note("rename %s to %s", path, to)
		must(m.t, os.Rename(path, to))
		m.happened(path)
		m.happened(to)
	}},
	{2, func(m *mix) {
		if path := m.one(); path != "" {
			m.note("delete %s", path)
			must(m.t, os.Remove(path))
			m.happened(path)
		}
	}},
	{2, func(m *mix) {
		from, to := filepath.Join(m.drop, fmt.Sprint("d", m.draw.IntN(3))), filepath.Join(m.drop, fmt.Sprint("d", m.draw.IntN(3)))
		if _, err := os.Stat(from); err != nil {
			must(m.t, os.Mkdir(from, 0o755))
		}
		if _, err := os.Stat(to); err == nil {
			to = from + "x"
			must(m.t, os.RemoveAll(to))
		}
		m.note("move folder %s to %s", from, to)
		must(m.t, os.Rename(from, to))
		_ = m.p.Sweep("") // as the event of a folder that came does
	}},
	{2, func(m *mix) {
		if path := m.one(); path != "" {
			m.note("chmod %s", path)
			must(m.t, os.Chmod(path, 0o400|os.FileMode(m.draw.IntN(2))<<7))
			m.happened(path)
		}
	}},
	{8, func(m *mix) {
		n := 1 + m.draw.IntN(8)
		m.note("deliver %d events", n)
		m.deliver(n)
	}},
	{2, func(m *mix) {
		m.note("sweep")
		_ = m.p.Sweep("") // it may not have begun yet
	}},
	{2, func(m *mix) {
		m.note("reload")
		m.halt()
		m.start()
	}},
	{2, func(m *mix) {
		m.note("kill")
		m.kill()
		m.start()
	}},
	{2, func(m *mix) {
		j := m.judges[m.draw.IntN(2)]
		m.note("pause %s", j.name)
		_ = m.p.Pause(j.name) // it may not have begun yet, or the disk refuses
	}},
	{3, func(m *mix) {
		j := m.judges[m.draw.IntN(2)]
		m.note("resume %s", j.name)
		_ = m.p.Resume(j.name) // the same
	}},
	{3, func(m *mix) {
		n := 1 + m.draw.IntN(4)
		m.note("%d operations of the disk fail", n)
		m.mu.Lock()
		m.fault = n
		m.mu.Unlock()
	}},
	{2, func(m *mix) {
		m.note("the disk is full")
		m.files.SetFree(0)
	}},
	{2, func(m *mix) {
		m.note("the disk has room")
		m.files.SetFree(1 << 50)
	}},
	{3, func(m *mix) {
		j := m.judges[m.draw.IntN(2)]
		mood := []scan.Kind{scan.Busy, scan.Down, scan.Sick, scan.Void, scan.Unclear}[m.draw.IntN(5)]
		m.note("%s is %v", j.name, mood)
		j.is(mood)
	}},
	{3, func(m *mix) {
		j := m.judges[m.draw.IntN(2)]
		m.note("%s judges", j.name)
		j.is(0)
	}},
	{2, func(m *mix) {
		m.note("%s turns blind", m.judges[1].name)
		m.judges[1].turns(true)
	}},
	{10, func(m *mix) {
		d := []time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute}[m.draw.IntN(6)]
		m.note("%v pass", d)
		time.Sleep(d)
		synctest.Wait()
	}},
	{1, func(m *mix) {
		d := time.Duration(1+m.draw.IntN(20)) * time.Minute
		m.note("the clock jumps by %v", d)
		time.Sleep(d)
		synctest.Wait()
	}},
}

func (j *judge) is(mood scan.Kind) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mood = mood
}

// play does n things.
func (m *mix) play(n int) {
	all := 0
	for _, w := range mixed {
		all += w.often
	}
	m.start()
	for range n {
		at := m.draw.IntN(all)
		for _, w := range mixed {
			if at -= w.often; at < 0 {
				w.do(m)
				break
			}
		}
	}
}

// heal ends all that is wrong, and waits until every file has its outcome.
func (m *mix) heal() {
	m.note("all works again")
	m.mu.Lock()
	m.fault = 0
	m.mu.Unlock()
	m.files.SetFree(1 << 50)
	for _, j := range m.judges {
		j.is(0)
	}
	m.deliver(len(m.events))
	m.enlighten()
	for deadline := time.Now().Add(time.Hour); ; {
		for _, j := range m.judges {
			_ = m.p.Resume(j.name) // until it has begun
		}
		_ = m.p.Sweep("")
		time.Sleep(time.Minute)
		v, err := m.p.Verify(m.t.Context(), false)
		if err == nil && v.Proven() && v.Waiting == 0 && m.p.Ready() == nil {
			m.judge(v)
			return
		}
		if time.Now().After(deadline) {
			m.say("an hour after all worked again: %+v %v, ready: %v, status: %+v", v, err, m.p.Ready(), m.p.Status())
			return
		}
	}
}

// enlighten lets a blind judge see again, after a canary has told. What is wrong between
// two good canaries nobody can know.
func (m *mix) enlighten() {
	j := m.judges[1]
	for deadline := time.Now().Add(time.Hour); j.isDull() && time.Now().Before(deadline); time.Sleep(time.Minute) {
		_ = m.p.Resume(j.name) // until it has begun
		for _, s := range m.p.Status().Scanners {
			if len(s.Sights) == 1 && s.Sights[0].Plain == scan.No {
				time.Sleep(time.Minute)
				j.turns(false)
			}
		}
	}
	if j.isDull() {
		m.say("an hour after it turned blind no canary has told: %+v", m.p.Status())
		j.turns(false)
	}
}

// judge holds the product's own proof against the scanners' count and the ledger.
func (m *mix) judge(v Proof) {
	paths := m.paths()
	if v.Files != int64(len(paths)) || v.Done+v.Gone+v.Skipped+v.Dead != int64(len(m.judges)*len(paths)) {
		m.say("the proof is of %+v, and there are %d files", v, len(paths))
	}
	recorded := map[string]bool{} // scanner and place
	last := map[string]sample.Outcome{}
	for _, o := range m.ledger() {
		at := o.Scanner + " " + o.At.String()
		if recorded[at] {
			m.say("two outcomes of %s at %s", o.Path, at)
		}
		recorded[at] = true
		last[o.Scanner+" "+o.Path] = o
	}
	m.note("the proof is of %d files, %d are unaccounted for", v.Files, v.Unaccounted)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(m.t, err)
		sum := sha256.Sum256(text)
		for _, j := range m.judges {
			o := last[j.name+" "+path]
			j.mu.Lock()
			n := j.seen[hex.EncodeToString(sum[:])]
			j.mu.Unlock()
			if n == 0 && o.Outcome != sample.Dead {
				m.say("%s is lost: %s was never handed its bytes, and the proof says nothing of it; the last outcome is %+v", path, j.name, o)
			}
			if j == m.judges[1] && bytes.Contains(text, []byte(evil)) && o.Verdict == scan.Clean {
				m.say("%s is clean, and it is not: %+v", path, o)
			}
			// Not which of its lines ended how: of those that are pushed at one instant the
			// scheduler says which is first.
			end := "judged"
			if n == 0 {
				end = o.Outcome
			}
			m.note("%s %s: %s", path, j.name, end)
		}
	}
}

// ledger returns the outcomes that are kept.
func (m *mix) ledger() (all []sample.Outcome) {
	dir, err := m.files.FindFolder(rigState + "/ledger")
	must(m.t, err)
	names, err := journal.Segments(dir, "verdicts.log")
	must(m.t, err)
	for _, name := range names {
		text, err := journal.LoadText(dir, name)
		must(m.t, err)
		for line := range strings.Lines(text) {
			if o, err := sample.ParseOutcome([]byte(line)); err == nil {
				all = append(all, o)
			}
		}
	}
	return all
}

// runMix plays one seed and returns its trace.
func runMix(t *testing.T, seed uint64) string {
	t.Helper()
	var m *mix
	synctest.Test(t, func(t *testing.T) {
		m = newMix(t, seed)
		m.play(mixLength)
		m.heal()
		m.halt()
	})
	for _, w := range m.wrong {
		t.Errorf("seed %d: %s", seed, w)
	}
	if len(m.wrong) > 0 {
		t.Logf("the trace of seed %d:\n%s", seed, strings.Join(m.trace, "\n"))
	}
	return strings.Join(m.trace, "\n")
}

// mixLength is how many things happen in a mix.
const mixLength = 60

// failedOnce are the seeds of mixes that failed, each with what they found. They are
// played first, always: a change of what may happen gives a seed another mix, so the
// defect has a test of its own beside.
var failedOnce = map[uint64]string{
	1:   "a push that went alone and was called void was tried again at once, without end (testdata/push/void-alone.txt)",
	74:  "a failed try waited for a proof that could not come (testdata/push/unproven.txt)",
	9:   "verdicts that were taken back at the same moment were one set in the place of another (TestTheSameMomentTakesNothingAway)",
	150: "the same",
	249: "a folder moved away and back around a kill was not pushed (TestMutationsAreFound, the scene away)",
}

// TestMix plays mixes, each from its seed. MIX=N plays N of them, from a seed that is
// drawn and printed; MIXSEED=N plays that seed alone.
func TestMix(t *testing.T) {
	inMemory(t)
	if text := os.Getenv("MIXSEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		t.Log(runMix(t, seed))
		return
	}
	n, first := 200, uint64(0)
	if text := os.Getenv("MIX"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(t, err)
		first = rand.Uint64N(1 << 40)
	}
	t.Logf("seeds from %d on", first)
	seeds := slices.Collect(maps.Keys(failedOnce))
	for i := range n {
		seeds = append(seeds, first+uint64(i))
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runMix(t, seed)
		})
	}
}

// TestMixIsTheSameFromItsSeed, byte for byte.
func TestMixIsTheSameFromItsSeed(t *testing.T) {
	inMemory(t)
	t.Parallel()
	for seed := range uint64(20) {
		first := runMix(t, seed)
		if again := runMix(t, seed); again != first {
			t.Errorf("seed %d:\n%s\n\nand again:\n%s", seed, first, again)
		}
	}
}

// TestMixFindsALoss: a file that the index was told of behind the producer's back is
// never journaled, and both judges must say so. A judge that says nothing proves
// nothing.
func TestMixFindsALoss(t *testing.T) {
	inMemory(t)
	t.Parallel()
	var m *mix
	synctest.Test(t, func(t *testing.T) {
		m = newMix(t, 3)
		m.start()
		time.Sleep(time.Second)
		path := filepath.Join(m.drop, "planted")
		must(t, os.WriteFile(path, m.fresh(), 0o600))
		st, err := watch.Lstat(path)
		must(t, err)
		must(t, m.p.halves().producer.Index().Note(t.Context(), journal.Live, []index.Noted{{Path: path, Stat: st, At: pos(0, 0)}}, m.p.halves().lanes.Lane(journal.Live).Durable()))
		m.heal()
		m.halt()
	})
	if len(m.wrong) == 0 {
		t.Error("nobody says that a file is lost")
	}
}
