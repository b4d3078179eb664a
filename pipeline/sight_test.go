// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// last returns the last outcome of each path.
func (l *lab) last() map[string]sample.Outcome {
	last := map[string]sample.Outcome{}
	for _, o := range l.outcomes() {
		last[o.Path] = o
	}
	return last
}

// sees sets how often a scanner's canaries are asked. The deep one is small: a busy machine
// needs longer than the timeout of a test's scanner for a large one.
func sees(every time.Duration, more ...string) func(*config.Scanner) {
	return func(s *config.Scanner) {
		s.Sight, s.MaxSize, s.Addresses = every, 64<<10, append(s.Addresses, more...)
	}
}

// TestTwoAddressesOneOfThemTurnsBlind: what it called clean since its last good canary is
// pushed again, to the other address, and no false clean stands in the end. Verify does
// not hold until then.
func TestTwoAddressesOneOfThemTurnsBlind(t *testing.T) {
	t.Parallel()
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			good, blind := scantest.Start(t, network), scantest.Start(t, network)
			l := newLab(t, clamd(good.Addr(), sees(2*time.Second, blind.Addr())))
			l.start()
			l.swept()
			var bad []string
			// A canary may be asked before the blind address gets a sample.
			for falsely := false; !falsely; {
				blind.Set(scantest.Proper)
				l.until("sight", func() bool {
					sees := func(s scan.Sight) bool { return s.Plain == scan.Yes && s.Depth == scan.Yes }
					s := l.p.Status().Scanners[0].Sights
					return len(s) == 2 && sees(s[0]) && sees(s[1])
				})
				blind.Set(scantest.Blind)
				for range 20 {
					bad = append(bad, l.write(fmt.Sprint("bad-", len(bad)), eicar()+fmt.Sprint(len(bad))))
				}
				l.judged(bad...)
				falsely = slices.ContainsFunc(l.outcomes(), func(o sample.Outcome) bool {
					return o.Verdict == scan.Clean && o.Address == blind.Addr()
				})
			}
			l.until("no false clean stands", func() bool {
				last := l.last()
				for _, path := range bad {
					if last[path].Verdict != scan.Malicious || last[path].Address != good.Addr() {
						return false
					}
				}
				return true
			})
			l.until("the proof", func() bool { return l.verify(false).Proven() })
			for _, s := range l.p.Status().Scanners[0].Sights {
				if want := map[string]scan.Seen{good.Addr(): scan.Yes, blind.Addr(): scan.No}[s.Address]; s.Plain != want {
					t.Errorf("%+v, want %s", s, want)
				}
			}
			if err := l.p.Ready(); err != nil {
				t.Errorf("one address sees: %v", err)
			}
			n := len(blind.Received())
			after := l.write("after", "harmless")
			l.until("an outcome", func() bool { return l.last()[after].Verdict == scan.Clean })
			if blind.Count([]byte("harmless")) > 0 {
				t.Errorf("the blind address got a sample after %d files", n)
			}
			blind.Set(scantest.Proper)
			l.until("it sees again", func() bool {
				return l.p.Status().Scanners[0].Sights[1].Plain == scan.Yes
			})
			for _, words := range []string{"scanner address is blind", "verdicts are taken back", "scanner address sees again", blind.Addr()} {
				l.until(words, func() bool { return strings.Contains(l.logged(), words) }) // the status has it a moment before
			}
		})
	}
}

// TestAScannerThatIsBlindJudgesNothing: its samples wait, it is not ready, and each of
// them gets its verdict when it sees again. That holds over a restart.
func TestAScannerThatIsBlindJudgesNothing(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	d.Set(scantest.Blind)
	l := newLab(t, clamd(d.Addr(), sees(time.Minute)))
	bad := l.write("bad", eicar())
	for range 2 {
		l.start()
		l.until("it is said to be blind", func() bool {
			err := l.p.Ready()
			return err != nil && strings.Contains(err.Error(), "blind")
		})
		if s := l.p.Status().Scanners[0]; s.Up || !s.Blind || len(l.outcomes()) > 0 || s.Sights[0].Plain != scan.No {
			t.Errorf("%+v", s)
		}
		l.halt()
	}
	l.start()
	d.Set(scantest.Proper)
	if o := l.await(1)[0]; o.Path != bad || o.Verdict != scan.Malicious || o.Address != d.Addr() || !strings.HasPrefix(o.Version, "ClamAV ") {
		t.Errorf("%+v", o)
	}
}

// TestBlindWhileWeWereDown: an address turns blind and calls a virus clean. The service
// is killed before the next canary. After the start the canary is answered wrongly, and
// the clean is taken back.
func TestBlindWhileWeWereDown(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), sees(time.Hour)))
	l.start()
	l.swept()
	l.until("sight", func() bool { return l.p.Status().Scanners[0].Sights[0].Depth == scan.Yes })
	fine := l.write("fine", "harmless")
	l.await(1)
	d.Set(scantest.Blind)
	bad := l.write("bad", eicar())
	if o := l.await(2)[1]; o.Verdict != scan.Clean {
		t.Fatalf("%+v", o)
	}
	l.halt()
	l.start()
	l.swept()
	l.until("the proof fails", func() bool { return !l.verify(false).Proven() })
	d.Set(scantest.Proper)
	l.until("it is malicious", func() bool { return l.last()[bad].Verdict == scan.Malicious })
	l.until("the proof", func() bool { v := l.verify(false); return v.Proven() && v.Waiting == 0 })
	if n := len(outcomesOf(l.outcomes(), fine)); n > 2 {
		t.Errorf("the harmless file was pushed %d times", n)
	}
	l.halt()
	names, err := filepath.Glob(filepath.Join(l.c.State, "cursors", "clamav.*"))
	if err != nil || len(names) != 4 { // two cursors, the mark, the sight
		t.Errorf("%q, %v", names, err)
	}
}

// TestCleanOnlyWhatWasSeen: what an address was not shown to see is unscanned, with the
// reason. Malicious stays what it is.
func TestCleanOnlyWhatWasSeen(t *testing.T) {
	t.Parallel()
	encrypted := func(flag uint16) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.CreateRaw(&zip.FileHeader{Name: "a", Method: zip.Store, Flags: flag, CompressedSize64: 20, UncompressedSize64: 20})
		must(t, err)
		_, err = w.Write(make([]byte, 20))
		must(t, err)
		must(t, z.Close())
		return b.String()
	}
	long := strings.Repeat("x", 2<<20)
	type want map[string]string // by name
	for _, c := range []struct {
		name  string
		lines []string
		set   func(*config.Scanner)
		want  want
	}{
		{"stock", nil, nil, want{"text": "clean", "zip": "clean", "encrypted": "unscanned encrypted_untold", "7z": "unscanned encrypted_untold", "pdf": "clean", "secret.pdf": "unscanned encrypted_untold", "long": "clean", "eicar": "malicious"}},
		{"AlertEncrypted", []string{"AlertEncrypted yes"}, nil, want{"text": "clean", "zip": "clean", "encrypted": "unscanned encrypted", "pdf": "clean", "secret.pdf": "clean", "long": "clean", "eicar": "malicious"}},
		{"MaxFileSize", []string{"MaxFileSize 1M"}, nil, want{"text": "clean", "long": "unscanned too_big", "eicar": "malicious"}},
		{"no archives", []string{"ScanArchive no"}, nil, want{"text": "unscanned archives_unseen", "eicar": "malicious"}},
		{"no sight", nil, func(s *config.Scanner) { s.Sight = -1 }, want{"text": "unscanned no_sight", "eicar": "malicious"}},
		{"a small depth", nil, func(s *config.Scanner) { s.SightDepth = 1 << 20 }, want{"text": "clean", "long": "unscanned too_big", "eicar": "malicious"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := scantest.ClamdOf(t, scantest.Official, c.lines...)
			set := func(s *config.Scanner) { s.MaxSize = 3 << 20 }
			l := newLab(t, clamd(d.UnixAddr, set))
			if c.set != nil {
				c.set(&l.c.Scanners[0])
			}
			text := map[string]string{
				"text": "harmless", "zip": encrypted(0), "encrypted": encrypted(1), "7z": "7z\xbc\xaf\x27\x1c harmless", "long": long, "eicar": eicar(),
				"pdf": "%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n", "secret.pdf": "%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<</Encrypt 1 0 R>>\n",
			}
			for name := range c.want {
				l.write(name, text[name])
			}
			l.start()
			for _, o := range l.await(len(c.want)) {
				got := strings.TrimSpace(fmt.Sprint(o.Verdict, " ", o.Reason))
				if name := filepath.Base(o.Path); got != c.want[name] {
					t.Errorf("%s: %s %s, want %s", name, got, o.Signature, c.want[name])
				}
			}
		})
	}
}

// TestARealClamdLosesItsTemporaryFolder in the middle: over a Unix socket it says OK to
// everything from then on. In the end no false clean stands.
func TestARealClamdLosesItsTemporaryFolder(t *testing.T) {
	t.Parallel()
	sound, hurt := scantest.Clamd(t, "AlertEncrypted yes"), scantest.Clamd(t, "AlertEncrypted yes")
	l := newLab(t, clamd(sound.UnixAddr, sees(time.Second, hurt.UnixAddr), func(s *config.Scanner) { s.MaxSize = 1 << 20 }))
	l.start()
	l.swept()
	l.until("sight", func() bool {
		for _, s := range l.p.Status().Scanners[0].Sights {
			if s.Depth != scan.Yes {
				return false
			}
		}
		return true
	})
	must(t, os.RemoveAll(hurt.Temporary()))
	var bad []string
	for i := range 30 {
		bad = append(bad, l.write(fmt.Sprint("bad-", i), eicar()+fmt.Sprint(i)))
	}
	l.until("no false clean stands", func() bool {
		last := l.last()
		for _, path := range bad {
			if last[path].Verdict != scan.Malicious {
				return false
			}
		}
		return true
	})
	l.until("the proof", func() bool { return l.verify(false).Proven() })
	if _, err := l.p.Verify(context.Background(), false); err != nil {
		t.Error(err)
	}
}

// TestASilentScannerIsSaid: a clamd that loads its database takes connections and says
// nothing for a while.
func TestASilentScannerIsSaid(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, "tcp")
	d.Set(scantest.Mute)
	l := newLab(t, clamd(d.Addr()))
	l.start()
	l.until("it is said", func() bool {
		all := l.p.Status().Scanners
		return strings.Contains(l.logged(), "scanner takes connections and says nothing") && len(all) == 1 && strings.HasPrefix(all[0].Why, "loading or stalled since ")
	})
	d.Set(scantest.Refuse) // what hangs is cut off
	d.Set(scantest.Proper)
	l.until("it is up", func() bool { s := l.p.Status().Scanners[0]; return s.Up && s.Why == "" })
}

// TestAStockClamdIsNotPushedAgainAtEachStart: it does not tell what is encrypted, so nothing
// that it called clean was said by that. A restart takes none of it back.
func TestAStockClamdIsNotPushedAgainAtEachStart(t *testing.T) {
	t.Parallel()
	d := scantest.Clamd(t) // AlertEncrypted is off
	l := newLab(t, clamd(d.UnixAddr, func(s *config.Scanner) { s.MaxSize = 1 << 20 }))
	for range 3 {
		l.start()
		l.swept()
		l.until("sight", func() bool { s := l.p.Status().Scanners; return len(s) == 1 && s[0].Sights[0].Depth == scan.Yes })
		l.write(fmt.Sprint(len(l.outcomes())), fmt.Sprint("harmless ", len(l.outcomes())))
		l.until("nothing waits", func() bool { return len(l.outcomes()) > 0 && l.p.Status().Scanners[0].Waiting == 0 })
		l.halt()
	}
	if n := len(l.outcomes()); n > 3 {
		t.Errorf("three files have %d outcomes", n)
	}
}

// TestACanaryOfOnesOwn: a scanner that knows only its own signatures, with a canary of
// these that is large, one that is missing, and EICAR, which it does not know.
func TestACanaryOfOnesOwn(t *testing.T) {
	t.Parallel()
	d := scantest.ClamdOf(t, scantest.OwnOnly, "AlertEncrypted yes")
	file := filepath.Join(t.TempDir(), "canary")
	l := newLab(t, clamd(d.UnixAddr, func(s *config.Scanner) { s.MaxSize, s.Timeout, s.Canary = 1<<20, time.Minute, file }))
	bad := l.write("bad", scantest.Marker)
	long := l.write("long", strings.Repeat("harmless ", 10_000))
	l.start()
	l.until("it is said", func() bool { return strings.Contains(l.logged(), "canary of the scanner cannot be read") })
	must(t, os.WriteFile(file, []byte(strings.Repeat("words ", 1000)+scantest.Marker), 0o600))
	l.until("both outcomes", func() bool { return len(l.last()) == 2 })
	if last := l.last(); last[bad].Verdict != scan.Malicious || last[long].Verdict != scan.Clean {
		t.Errorf("%+v", last)
	}
}
