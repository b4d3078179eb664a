// SPDX-License-Identifier: Apache-2.0

package clamd_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/clamd"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// keeps is a scanner that keeps sessions.
func keeps(t testing.TB, s scan.Scanner) scan.Keeping {
	t.Helper()
	k, is := s.(scan.Keeping)
	if !is {
		t.Fatal("it keeps no session")
	}
	t.Cleanup(k.Rest)
	return k
}

// keptOver skips a test of kept sessions where none is kept over this network.
func keptOver(t testing.TB, network string) {
	t.Helper()
	if !clamd.KeepsOver(network) {
		t.Skip("no session over tcp is kept on this system")
	}
}

// TestASessionTakesManyBatches, one after the other, each with verdicts of its own; and
// batches at the same time have a session each.
func TestASessionTakesManyBatches(t *testing.T) {
	for _, network := range scantest.Networks() {
		for _, isKeyed := range []bool{false, true} {
			t.Run(fmt.Sprint(network, isKeyed), func(t *testing.T) {
				keptOver(t, network)
				server := scantest.Start(t, network)
				s := keeps(t, asks(t, time.Minute, server.Addr()))
				if isKeyed {
					s = keeps(t, keyed(t, server.Addr(), time.Minute))
				}
				bad := open(t, scantest.EICAR())
				for i := range 50 {
					files := []scan.File{open(t, fmt.Append(nil, "good", i)), bad, open(t, bytes.Repeat([]byte("x"), 70_000))}[:1+i%3]
					for n, a := range judge(t, s, files...) {
						want := scan.Clean
						if n == 1 {
							want = scan.Malicious
						}
						if a.Verdict != want || (a.Key != "") != isKeyed {
							t.Fatalf("batch %d, file %d: %+v", i, n, a)
						}
					}
				}
				if n := server.Sessions(); n != 1 {
					t.Errorf("%d connections", n)
				}
				s.Rest()
				judge(t, s, bad)
				if n := server.Sessions(); n != 2 {
					t.Errorf("%d connections after a rest", n)
				}
			})
		}
	}
}

// TestASessionThatEndedMeanwhile: nobody notices that a kept connection is gone, whether
// clamd said so or not, and whether it comes back at once.
func TestASessionThatEndedMeanwhile(t *testing.T) {
	for _, network := range scantest.Networks() {
		server := scantest.Start(t, network)
		s := keeps(t, asks(t, time.Minute, server.Addr()))
		files := []scan.File{open(t, []byte("good")), open(t, scantest.EICAR()), open(t, make([]byte, 1<<20))}
		for _, how := range []scantest.Behaviour{scantest.Refuse, scantest.Close, scantest.Reset} {
			judge(t, s, files...)
			server.Set(how)
			if how != scantest.Refuse { // it ends at its next command, and so does a new one
				wantKind(t, judge(t, s, files[0])[0], scan.Down)
			}
			server.Set(scantest.Proper)
			for i, a := range judge(t, s, files...) {
				if want := []scan.Verdict{scan.Clean, scan.Malicious, scan.Clean}[i]; a.Verdict != want {
					t.Errorf("%s, after %d, file %d: %+v", network, how, i, a)
				}
			}
		}
	}
}

// TestNoMisbehaviourOutlivesItsBatch: whatever goes wrong in a batch of a kept session,
// what an earlier fence confirmed stands, no file of the batch has a verdict, and the next
// batch is judged anew.
func TestNoMisbehaviourOutlivesItsBatch(t *testing.T) {
	for _, way := range append(scantest.Networks(), scantest.Networks()[0]+" keyed") {
		network, isKeyed := strings.CutSuffix(way, " keyed")
		for _, b := range []scantest.Behaviour{
			scantest.Hang, scantest.Drop, scantest.Garbage, scantest.HangUp, scantest.Flood, scantest.Duplicate, scantest.Alien,
			scantest.Extra, scantest.Torn, scantest.ReadTimeout, scantest.Early, scantest.Mute,
		} {
			if b == scantest.Early && network == "unix" {
				continue // a reply about a descriptor is never early
			}
			t.Run(fmt.Sprint(way, b), func(t *testing.T) {
				t.Parallel()
				server := scantest.Start(t, network)
				timeout := time.Minute
				if b == scantest.Hang || b == scantest.Mute {
					timeout = 500 * time.Millisecond
				}
				size := 300 << 10
				if b == scantest.Early {
					size = 16 << 20
				}
				s := keeps(t, asks(t, timeout, server.Addr()))
				if isKeyed {
					s = keeps(t, keyed(t, server.Addr(), timeout))
				}
				good := open(t, []byte("good"))
				for range 3 {
					if a := judge(t, s, good)[0]; a.Verdict != scan.Clean {
						t.Fatalf("before: %+v", a)
					}
				}
				server.Set(b)
				for _, a := range judge(t, s, slices.Repeat([]scan.File{open(t, make([]byte, size))}, 3)...) {
					if a.Verdict != "" {
						t.Errorf("a verdict: %+v", a)
					}
				}
				server.Set(scantest.Proper)
				for _, a := range judge(t, keeps(t, s), good, open(t, scantest.EICAR())) {
					if a.Verdict == "" && b != scantest.ReadTimeout {
						t.Errorf("afterwards: %+v", a)
					}
				}
			})
		}
	}
}

// TestAKeptSessionSeesNewSignatures: a real clamd that loads a new database judges by it
// also in a session that it had before, and its answers tell the new version or none.
func TestAKeptSessionSeesNewSignatures(t *testing.T) {
	c := scantest.Clamd(t)
	for i, addr := range []string{c.UnixAddr, c.TCPAddr} {
		s := keeps(t, keyed(t, addr, time.Minute))
		text := fmt.Sprintf("nobody knows this text yet, number %d", i)
		f := open(t, []byte(text))
		if a := judge(t, s, f)[0]; a.Verdict != scan.Clean {
			t.Fatalf("%+v", a)
		}
		c.Learn(text)
		late := time.Now().Add(time.Minute)
		for judge(t, s, f)[0].Verdict != scan.Malicious {
			if time.Now().After(late) {
				t.Fatal("a kept session does not see the new signature")
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// TestASessionOfARealClamdIsKept: clamd ends one that is idle for longer than its
// IdleTimeout, and nobody notices.
func TestASessionOfARealClamdIsKept(t *testing.T) {
	c := scantest.Clamd(t, "IdleTimeout 1", "CommandReadTimeout 1", "ReadTimeout 1")
	for _, addr := range []string{c.UnixAddr, c.TCPAddr} {
		s := keeps(t, keyed(t, addr, time.Minute))
		f, bad := open(t, []byte("good")), open(t, scantest.EICAR())
		for i := range 3 {
			all := judge(t, s, f, bad, f)
			if all[0].Verdict != scan.Clean || all[1].Verdict != scan.Malicious || all[2].Verdict != scan.Clean {
				t.Errorf("%s, batch %d: %+v", addr, i, all)
			}
			if i == 1 {
				<-time.After(2500 * time.Millisecond) // longer than clamd waits
			}
		}
	}
}

// TestKeptSessionsGiveNoWrongVerdict: many batches at once over few sessions, while the
// server misbehaves in all ways by turns. An answer may be missing; none is another file's.
func TestKeptSessionsGiveNoWrongVerdict(t *testing.T) {
	for _, way := range append(scantest.Networks(), scantest.Networks()[0]+" keyed") {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			network, isKeyed := strings.CutSuffix(way, " keyed")
			server := scantest.Start(t, network)
			s := keeps(t, asks(t, time.Minute, server.Addr()))
			if isKeyed {
				s = keeps(t, keyed(t, server.Addr(), time.Minute))
			}
			good, bad := open(t, []byte("good")), open(t, scantest.EICAR())
			var all, turns sync.WaitGroup
			ended := make(chan struct{})
			turns.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-ended:
						return
					case <-time.After(3 * time.Millisecond):
						server.Set([]scantest.Behaviour{
							scantest.Proper, scantest.Duplicate, scantest.Proper, scantest.Drop, scantest.Alien, scantest.Proper,
							scantest.Extra, scantest.HangUp, scantest.Proper, scantest.Torn, scantest.Close, scantest.Garbage, scantest.Reset,
						}[i%13])
					}
				}
			})
			var judged atomic.Int64
			for n := range 6 {
				all.Go(func() {
					for i := range 150 {
						var files []scan.File
						var want []scan.Verdict
						for k := range 1 + (n+i)%5 {
							if (n*7+i*3+k)%3 == 0 {
								files, want = append(files, bad), append(want, scan.Malicious)
							} else {
								files, want = append(files, good), append(want, scan.Clean)
							}
						}
						answers := judge(t, s, files...)
						if len(answers) == 0 || len(answers) > len(files) {
							t.Errorf("%d answers to %d files", len(answers), len(files))
							return
						}
						for k, a := range answers {
							if a.Verdict != "" && a.Verdict != want[k] {
								t.Errorf("%q, want %q: %+v", a.Verdict, want[k], a)
							}
							if a.Verdict != "" {
								judged.Add(1)
							}
						}
					}
				})
			}
			all.Wait()
			close(ended)
			turns.Wait()
			if judged.Load() < 100 {
				t.Errorf("%d verdicts: this shows little", judged.Load())
			}
		})
	}
}

// TestAReplyBehindTheFenceIsNoSecret: a second word about a file, when its batch is over. The
// next batch is void, and nobody believes the session any more.
func TestAReplyBehindTheFenceIsNoSecret(t *testing.T) {
	for _, network := range scantest.Networks() {
		keptOver(t, network)
		server := scantest.Start(t, network)
		s := keeps(t, asks(t, time.Minute, server.Addr()))
		f := open(t, []byte("good"))
		judge(t, s, f)
		server.Mutter("7: stream: Eicar FOUND")
		late := time.Now().Add(time.Minute)
		for a := judge(t, s, f)[0]; a.Err == nil || a.Err.Kind != scan.Void; a = judge(t, s, f)[0] {
			if time.Now().After(late) {
				t.Fatalf("%s: nobody minds it: %+v", network, a)
			}
			server.Mutter("7: stream: Eicar FOUND")
		}
		if a := judge(t, s, f)[0]; a.Verdict != scan.Clean {
			t.Errorf("%s: afterwards: %+v", network, a)
		}
	}
}

// TestAKeptConnectionThatLeadsNowhere: it costs seconds, not the whole timeout.
func TestAKeptConnectionThatLeadsNowhere(t *testing.T) {
	keptOver(t, "tcp")
	server := scantest.Start(t, "tcp")
	s := keeps(t, asks(t, time.Hour, server.Addr()))
	f := open(t, []byte("good"))
	judge(t, s, f)
	server.Set(scantest.Mute)
	again := make(chan scan.Answer, 1)
	go func() { again <- judge(t, s, f)[0] }()
	server.Quiet(t)
	server.Set(scantest.Proper) // for new connections
	select {
	case a := <-again:
		if a.Verdict != scan.Clean {
			t.Errorf("%+v", a)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the timeout")
	}
}
