// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func TestWhatIsSaidOfSight(t *testing.T) {
	yes, no := pipeline.Yes, pipeline.No
	now := time.Now()
	blind := pipeline.SightOf{Address: "tcp:b:1", Plain: no, Why: "it called \x1b the test file clean"}
	for _, c := range []struct {
		s    pipeline.SightOf
		want string
	}{
		{pipeline.SightOf{Plain: yes, Archive: yes, Encrypted: no, Depth: yes, Deep: 25 << 20}, "sees archives NOT encrypted depth 25 MiB"},
		{pipeline.SightOf{Plain: yes, Archive: no, Encrypted: pipeline.NotAsked, Depth: no, Deep: 3 << 10}, "sees NOT archives (not asked: encrypted) NOT depth 3 KiB"},
		{pipeline.SightOf{Plain: yes, Archive: yes, Encrypted: yes, Depth: yes, Deep: 1 << 20, Ordinary: no}, "sees archives encrypted depth 1 MiB NOT ordinary files"},
		{pipeline.SightOf{Plain: pipeline.NotAsked}, "not asked yet"},
		{pipeline.SightOf{Plain: pipeline.NoAnswer, Why: "down"}, "no answer: down"},
		{blind, `BLIND: "it called \x1b the test file clean"`},
	} {
		if got := sightText(c.s); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	s := pipeline.Status{Started: now, Scanners: []pipeline.ScannerStatus{{
		Name: "clamav", Up: true, Sights: []pipeline.SightOf{{Address: "tcp:a:1", Plain: yes, Archive: yes, Encrypted: yes, Depth: yes, Deep: 1 << 30}, blind},
	}}}
	text := StatusText(s, now)
	for _, want := range []string{"tcp:a:1  sees archives encrypted depth 1 GiB", "tcp:b:1  BLIND", "scanner clamav is blind at tcp:b:1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	s.Scanners[0].Sights[0].Ordinary = no
	if text := StatusText(s, now); !strings.Contains(text, "scanner clamav is kept from ordinary files at tcp:a:1") {
		t.Error(text)
	}
	s.Scanners[0].Up, s.Scanners[0].Blind, s.Scanners[0].Since = false, true, now.Add(-time.Minute)
	if text := StatusText(s, now); !strings.Contains(text, "scanner clamav has been blind for 1m0s") || !strings.Contains(text, "BLIND 1m0s") {
		t.Error(text)
	}
}

// TestScannerTest: a line for each address, with the next step for what it does not see,
// and the exit code.
func TestScannerTest(t *testing.T) {
	network := scantest.Networks()[0]
	sees, blind, down := scantest.Start(t, network), scantest.Start(t, network), scantest.Start(t, network)
	blind.Set(scantest.Blind)
	down.Set(scantest.Refuse)
	for _, c := range []struct {
		d    *scantest.Server
		want string
		code int
	}{
		{sees, "sees archives encrypted depth 25 MiB", 0},
		{blind, "TemporaryDirectory is there and has room", ExitFailure},
		{down, "no answer", ExitUnavailable},
	} {
		path := written(t, "[scanner.c]\ntype = 'clamd'\naddress = '"+c.d.Addr()+"'\n")
		var out bytes.Buffer
		err := TestScanners(context.Background(), Flags{File: path}, "", &out)
		var told *ToldError
		if Code(err) != c.code || err != nil && !errors.As(err, &told) || !strings.Contains(out.String(), c.want) || !strings.Contains(out.String(), c.d.Addr()) {
			t.Errorf("code %d, want %d, of %v\n%s", Code(err), c.code, err, out.String())
		}
	}
}
