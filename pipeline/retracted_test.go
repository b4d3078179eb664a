// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// falseCleans is how many files a blind scanner calls clean in a scene of blindness, at
// most.
const falseCleans = 3

// turnsBlind runs a pipeline whose scanner turns blind, calls files clean, is found out,
// and sees again. It returns the states that left leaves before each operation from the
// false cleans on, until the files are given again and at the end.
func (r *rig) turnsBlind(left func(*disktest.Disk) *disktest.Disk, skip func(disktest.Op) error) (all []cut) {
	r.t.Helper()
	var mu sync.Mutex
	begun := false
	before := func(op disktest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if begun {
			index := r.store.CrashClone(vfs.CrashCloneCfg{}) // first: it may lag behind the files
			all = append(all, cut{op: op, files: left(r.files), store: index, recorded: r.told.all()})
		}
		if skip != nil {
			return skip(op)
		}
		return nil
	}
	r.config.Scanners[0].Sight, r.config.Scanners[0].MaxSize = 300*time.Millisecond, 64<<10 // a small deep canary
	r.each(before)
	r.run(func(p *Pipeline) {
		waitFor(r.t, "sight", func() bool {
			s := p.Status().Scanners
			return len(s) > 0 && len(s[0].Sights) > 0 && s[0].Sights[0].Plain == scan.Yes && s[0].Sights[0].Encrypted != scan.NotAsked
		})
		was := p.Status().Scanners[0].Sights[0].Asked
		waitFor(r.t, "a canary just now", func() bool { return p.Status().Scanners[0].Sights[0].Asked.After(was) })
		r.scanner.Set(scantest.Blind)
		mu.Lock()
		begun = true
		mu.Unlock()
		for i := range falseCleans {
			must(r.t, os.WriteFile(filepath.Join(r.drop, fmt.Sprint(i)), append(scantest.EICAR(), byte('0'+i)), 0o600))
		}
		waitFor(r.t, "false cleans", func() bool { // all of them, unless it is found out before
			return r.told.size() >= falseCleans || r.told.size() > 0 && !p.Status().Scanners[0].Up
		})
		waitFor(r.t, "they are taken back", func() bool {
			all, err := store.LoadTakenBack(r.cursors())
			return err == nil && len(all) > 0 && all[0].Queued && !p.Status().Scanners[0].Up
		})
		r.scanner.Set(scantest.Proper)
		waitFor(r.t, "they are given again", func() bool { return !takenBack(r.t, r.files) && len(falselyClean(r.t, r.files)) == 0 })
	})
	r.files.Before, skip = nil, nil
	_ = before(disktest.Op{Kind: "end"})
	return all
}

// falselyClean returns the paths whose last verdict in the ledger on a disk is clean.
func falselyClean(t testing.TB, d *disktest.Disk) []string {
	t.Helper()
	last := map[string]string{}
	dir, err := d.FindFolder(rigState + "/ledger")
	must(t, err)
	names, err := journal.Segments(dir, ledger.Base)
	must(t, err)
	for _, name := range names {
		text, _ := journal.LoadText(dir, name) // missing: there is no active segment
		for line := range strings.Lines(text) {
			var o struct{ Path, Verdict string }
			if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &o) == nil {
				last[o.Path] = o.Verdict
			}
		}
	}
	maps.DeleteFunc(last, func(_, verdict string) bool { return scan.Verdict(verdict) != scan.Clean })
	return slices.Sorted(maps.Keys(last))
}

// takenBack reports whether a disk says that verdicts are taken back.
func takenBack(t testing.TB, d *disktest.Disk) bool {
	t.Helper()
	dir, err := d.FindFolder(rigState + "/cursors")
	must(t, err)
	lost, err := store.LoadLost(dir, "clamav")
	must(t, err)
	all, err := store.LoadTakenBack(dir)
	must(t, err)
	return lost+len(all) > 0
}

// givenAgain starts a pipeline with a scanner that sees on the state after a cut that
// tells of a wrong canary, and returns what is wrong with it.
func (c cut) givenAgain(t testing.TB, r *rig, wait time.Duration) (wrong []string) {
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("cut before %s %s: ", c.op.Kind, c.op.Path)+fmt.Sprintf(format, args...))
	}
	clean := falselyClean(t, c.files)
	if !takenBack(t, c.files) {
		if len(clean) > 0 {
			say("%q stand as clean, and nothing tells that they are taken back", clean)
		}
		return wrong
	}
	made := rigConfig(r.drop, store.Disk{Disk: c.files, Pebble: c.store}, config.Scanner{Addresses: []string{r.scanner.Addr()}}, newTold())
	made.Scanners[0].Sight, made.Scanners[0].MaxSize = time.Minute, 64<<10
	p, err := New(made)
	must(t, err)
	if v, err := p.Verify(t.Context(), false); err != nil || v.Proven() || v.TakenBack == 0 {
		say("at rest the proof is %+v %v", v, err)
	}
	stop := runIt(t, p)
	early := ""
	proven := within(wait, func() bool {
		if s := p.Status(); len(s.Trees) == 0 || s.Trees[0].LastSweep == nil {
			return false // a look now would take the locks that Run wants
		}
		v, err := p.Verify(t.Context(), false)
		if stand := falselyClean(t, c.files); err == nil && v.Proven() && len(stand) > 0 && early == "" {
			early = fmt.Sprintf("the proof holds while %q stand as clean: %+v", stand, v)
		}
		return err == nil && v.Proven() && v.Waiting == 0
	})
	stop()
	if early != "" {
		say("%s", early)
	}
	if stand := falselyClean(t, c.files); len(stand) > 0 || !proven {
		say("in the end %q stand as clean, proven: %v", stand, proven)
	}
	return wrong
}

// within reports whether ok holds within a time.
func within(d time.Duration, ok func() bool) bool {
	late := time.After(d)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-late:
			return false
		case <-tick.C:
			if ok() {
				return true
			}
		}
	}
}

// blinded is the scene of a scanner that turns blind. The power is cut, or the process
// killed, at each operation from the moment on at which its wrong canary must be on
// record: the first one on the file of what is taken back.
func blinded(left func(*disktest.Disk) *disktest.Disk) scene {
	return func(t *testing.T, skip func(disktest.Op) error) (wrong []string) {
		r := newRig(t, t.TempDir())
		all := r.turnsBlind(left, skip)
		from := slices.IndexFunc(all, func(c cut) bool { return store.IsTakenBack(strings.TrimSuffix(filepath.Base(c.op.Path), ".new")) })
		if from < 0 {
			t.Fatal("nothing was taken back")
		}
		if skip == nil {
			t.Logf("%d operations, and %d before", len(all)-from, from)
		}
		return firstWrong(all[from:], skip, func(c cut, wait time.Duration) []string { return c.givenAgain(t, r, wait) })
	}
}

// TestCrashWhileVerdictsAreTakenBack: a scanner turns blind and calls viruses clean. From
// its wrong canary on the power is cut before each operation, or the process is killed.
// After the restart, with a scanner that sees, no false clean stands in the end, and the
// proof does not hold before.
func TestCrashWhileVerdictsAreTakenBack(t *testing.T) {
	inMemory(t)
	for name, left := range map[string]func(*disktest.Disk) *disktest.Disk{
		"power": nothing, "half of it": func(d *disktest.Disk) *disktest.Disk { return d.Cut(50) }, "out of order": (*disktest.Disk).CutOutOfOrder, "killed": (*disktest.Disk).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, w := range blinded(left)(t, nil) {
				t.Error(w)
			}
		})
	}
}

// TestCrashAfterAFalseCleanThatWasLate: a clean is on its way to the ledger while the
// scanner is found to be blind. Nothing is taken back before it is durable. From then on
// the power is cut before each operation.
func TestCrashAfterAFalseCleanThatWasLate(t *testing.T) {
	inMemory(t)
	t.Parallel()
	r := newRig(t, t.TempDir())
	r.config.Scanners[0].Sight, r.config.Scanners[0].MaxSize = 300*time.Millisecond, 64<<10
	var mu sync.Mutex
	var all []cut
	holding := false
	release := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	r.each(func(op disktest.Op) error {
		mu.Lock()
		late := holding && op.Kind == "sync" && filepath.Base(op.Path) == ledger.Base
		if late {
			holding = false
		}
		select {
		case <-release:
			all = append(all, cut{op: op, files: r.files.Cut(0), store: r.store.CrashClone(vfs.CrashCloneCfg{}), recorded: r.told.all()})
		default:
		}
		mu.Unlock()
		if late {
			<-release
		}
		return nil
	})
	r.run(func(p *Pipeline) {
		waitFor(t, "sight", func() bool {
			s := p.Status().Scanners
			return len(s) > 0 && len(s[0].Sights) > 0 && s[0].Sights[0].Plain == scan.Yes && s[0].Sights[0].Encrypted != scan.NotAsked
		})
		was := p.Status().Scanners[0].Sights[0].Asked
		waitFor(t, "a canary just now", func() bool { return p.Status().Scanners[0].Sights[0].Asked.After(was) })
		mu.Lock()
		holding = true
		mu.Unlock()
		r.scanner.Set(scantest.Blind)
		must(t, os.WriteFile(filepath.Join(r.drop, "0"), scantest.EICAR(), 0o600))
		waitFor(t, "a clean on its way to the ledger", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return !holding
		})
		waitFor(t, "the word of a wrong canary", func() bool { return takenBack(t, r.files) })
		lost, err := store.LoadLost(r.cursors(), "clamav")
		must(t, err)
		if lost == 0 {
			t.Error("all is taken back, and a clean is on its way")
		}
		letGo()
		waitFor(t, "it is taken back", func() bool {
			all, err := store.LoadTakenBack(r.cursors())
			return err == nil && len(all) > 0
		})
		r.scanner.Set(scantest.Proper)
		waitFor(t, "it is given again", func() bool { return !takenBack(t, r.files) && len(falselyClean(t, r.files)) == 0 })
	})
	r.files.Before = nil
	late := slices.DeleteFunc(all, func(c cut) bool { return len(falselyClean(t, c.files)) == 0 })
	if len(late) == 0 {
		t.Error("no cut has the late clean in the ledger")
	}
	for _, w := range firstWrong(late, nil, func(c cut, wait time.Duration) []string { return c.givenAgain(t, r, wait) }) {
		t.Error(w)
	}
}

// TestVerdictsOfAnotherScannerHoldUpNoProof: a scanner was taken out of the configuration
// while verdicts of it were taken back. Nobody gives them again, and nobody asks for them.
func TestVerdictsOfAnotherScannerHoldUpNoProof(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	l.judged(l.write("a", "x"))
	cursors := filepath.Join(l.c.State, "cursors")
	must(t, os.WriteFile(filepath.Join(cursors, "former.7.again"), []byte("1:1"), 0o600))
	must(t, os.WriteFile(filepath.Join(cursors, "former.sight"), []byte(`{"lost":true}`+"\n"), 0o600))
	if v := l.verify(false); !v.Proven() || v.TakenBack != 0 {
		t.Errorf("%+v", v)
	}
	must(t, os.WriteFile(filepath.Join(cursors, "hashlist.sight"), []byte(`{"lost":true}`+"\n"), 0o600))
	if v := l.verify(false); v.Proven() || v.TakenBack != 1 {
		t.Errorf("%+v", v)
	}
}

// TestWhyTellsThatACleanIsTakenBack, by each key, from the wrong canary on until the
// sample has its new outcome.
func TestWhyTellsThatACleanIsTakenBack(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), sees(300*time.Millisecond)))
	l.start()
	l.swept()
	l.until("sight", func() bool {
		s := l.p.Status().Scanners[0].Sights
		return len(s) > 0 && s[0].Plain == scan.Yes && s[0].Encrypted != scan.NotAsked
	})
	d.Set(scantest.Blind)
	bad := l.write("bad", eicar()+"x")
	o := l.await(1)[0]
	keys := []string{bad, o.ID, o.SHA256, o.At.String()}
	told := func(s Story) string {
		if len(s.Withdrawn) != 1 || s.Withdrawn[0].Scanner != o.Scanner || s.Withdrawn[0].Of != o.At.String() {
			return fmt.Sprintf("%+v", s.Withdrawn)
		}
		return s.Withdrawn[0].At
	}
	var again string
	l.until("its line", func() bool {
		lines := l.why(bad).Lines
		again = lines[len(lines)-1].At
		return len(lines) == 2 && told(l.why(bad)) == again
	})
	for _, key := range keys {
		if got := told(l.why(key)); got != again {
			t.Errorf("%s: %s, want %s", key, got, again)
		}
	}

	// At rest, and as if the producer had not journaled it yet.
	line := l.lines(journal.Live)
	l.halt()
	p, err := New(l.c)
	must(t, err)
	queued, err := filepath.Glob(filepath.Join(l.c.State, "cursors", "clamav.*.again"))
	must(t, err)
	if len(queued) != 1 {
		t.Fatal(queued)
	}
	back := strings.TrimSuffix(queued[0], ".again") + ".back"
	must(t, os.WriteFile(back, sample.AppendLine(nil, line[len(line)-1]), 0o600))
	must(t, os.Rename(queued[0], queued[0]+".kept"))
	for _, key := range keys {
		s, err := p.Why(t.Context(), key)
		must(t, err)
		if got := told(s); got != "" {
			t.Errorf("%s, not journaled: %s", key, got)
		}
	}
	must(t, os.Rename(queued[0]+".kept", queued[0]))
	must(t, os.Remove(back))
	l.start()
	l.swept()
	d.Set(scantest.Proper)
	l.until("it is malicious", func() bool { return l.last()[bad].Verdict == scan.Malicious })
	for _, key := range keys {
		if s := l.why(key); len(s.Withdrawn) > 0 {
			t.Errorf("%s: %+v", key, s.Withdrawn)
		}
	}
}
