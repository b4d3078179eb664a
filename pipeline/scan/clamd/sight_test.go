// SPDX-License-Identifier: Apache-2.0

package clamd_test

import (
	"os"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestWhatARealClamdSees, in each of the states in which it answers OK to what it did not
// look into.
func TestWhatARealClamdSees(t *testing.T) {
	type seen map[scan.Canary]bool
	all := seen{scan.Plain: true, scan.Archive: true, scan.Depth: true, scan.Encrypted: true, scan.Ordinary: true}
	without := func(lacks ...scan.Canary) seen {
		s := seen{}
		for c := range all {
			s[c] = true
		}
		for _, c := range lacks {
			s[c] = false
		}
		return s
	}
	const depth = 3 << 20
	for _, c := range []struct {
		name       string
		signatures scantest.Signatures
		lines      []string
		unix, tcp  seen
		own        bool // the canary is of its own signatures
	}{
		{name: "all is well", lines: []string{"AlertEncrypted yes"}, unix: all, tcp: all},
		{name: "signatures as the official ones", signatures: scantest.Official, lines: []string{"AlertEncrypted yes"}, unix: all, tcp: all},
		{name: "the hash of 68 bytes", signatures: scantest.HashOnly, lines: []string{"AlertEncrypted yes"}, unix: all, tcp: all},
		{name: "stock: AlertEncrypted is off", unix: without(scan.Encrypted), tcp: without(scan.Encrypted)},
		{name: "MaxFileSize below the depth", lines: []string{"AlertEncrypted yes", "MaxFileSize 1M"}, unix: without(scan.Depth), tcp: without(scan.Depth)},
		{name: "MaxScanSize below the depth", lines: []string{"AlertEncrypted yes", "MaxScanSize 1M"}, unix: without(scan.Depth), tcp: without(scan.Depth)},
		{name: "AlertExceedsMax", lines: []string{"AlertEncrypted yes", "MaxFileSize 1M", "AlertExceedsMax yes"}, unix: without(scan.Depth), tcp: without(scan.Depth)},
		{name: "StreamMaxLength below the depth", lines: []string{"AlertEncrypted yes", "StreamMaxLength 1M"}, unix: all, tcp: without(scan.Depth)},
		{name: "no archives", lines: []string{"AlertEncrypted yes", "ScanArchive no"}, unix: without(scan.Archive, scan.Encrypted), tcp: without(scan.Archive, scan.Encrypted)},
		{name: "own signatures only", signatures: scantest.OwnOnly, lines: []string{"AlertEncrypted yes"}, unix: seen{scan.Encrypted: true, scan.Ordinary: true}, tcp: seen{scan.Encrypted: true, scan.Ordinary: true}},
		{name: "own signatures, and a canary of these", signatures: scantest.OwnOnly, lines: []string{"AlertEncrypted yes"}, unix: all, tcp: all, own: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := scantest.ClamdOf(t, c.signatures, c.lines...)
			for addr, want := range map[string]seen{d.UnixAddr: c.unix, d.TCPAddr: c.tcp} {
				s := asks(t, time.Minute, addr)
				made := scan.Canaries{Dir: t.TempDir()}
				if c.own {
					made.Test = []byte(scantest.Marker)
				}
				for canary := range all {
					if shown, err := made.Ask(t.Context(), s, canary, depth); err != nil || shown.Sees != want[canary] {
						t.Errorf("%s %s: %+v, %v; want %v", addr, canary, shown, err, want[canary])
					}
				}
			}
		})
	}
}

// TestAClamdWithoutItsTemporaryFolderIsBlind: over a Unix socket it says OK to everything
// then, or gives an error. In no case may a clean of it count.
func TestAClamdWithoutItsTemporaryFolderIsBlind(t *testing.T) {
	d := scantest.Clamd(t, "AlertEncrypted yes")
	s := asks(t, time.Minute, d.UnixAddr)
	sees(t, s, scan.Plain)
	if err := os.RemoveAll(d.Temporary()); err != nil {
		t.Fatal(err)
	}
	shown, err := scan.Canaries{}.Ask(t.Context(), s, scan.Plain, 0)
	if err == nil && shown.Sees {
		a := judge(t, s, open(t, scantest.EICAR()))[0]
		if a.Verdict == scan.Clean {
			t.Errorf("the canary is seen, and EICAR is clean: %+v", a)
		}
		return
	}
	t.Logf("plain: %+v, %v", shown, err)
	if err := os.Mkdir(d.Temporary(), 0o700); err != nil {
		t.Fatal(err)
	}
	sees(t, s, scan.Plain)
}
