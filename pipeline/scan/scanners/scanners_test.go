// SPDX-License-Identifier: Apache-2.0

package scanners_test

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scanners"
)

func TestNew(t *testing.T) {
	for want, c := range map[string]scan.Config{
		"known are clamd, hashlist, discard": {Type: "icap"},
		"write unix:/path or tcp:host:port":  {Type: "clamd"},
		"write tcp:host:port":                {Type: "clamd", Addresses: []string{"tcp:host"}},
		`read address "/run/clamd"`:          {Type: "clamd", Addresses: []string{"/run/clamd"}},
		`read address "unix:clamd"`:          {Type: "clamd", Addresses: []string{"unix:clamd"}},
	} {
		s, err := scanners.New(c)
		if s != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v", c, s, err)
		}
		if errors.Is(err, scanners.ErrType) != (c.Type == "icap") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestEachTypeIsMade, and the scanner is of that type.
func TestEachTypeIsMade(t *testing.T) {
	file := scan.File{Size: 1, SHA256: sha256.Sum256([]byte("a"))}
	for _, c := range []struct {
		scan.Config
		want scan.Answer
	}{
		{scan.Config{Type: "hashlist"}, scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonNotListed}},
		{scan.Config{Type: "discard"}, scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonDiscarded}},
	} {
		s, err := scanners.New(c.Config)
		if err != nil {
			t.Fatal(err)
		}
		a := s.Scan(t.Context(), slices.Values([]scan.File{file}))[0]
		if a.Key = ""; a != c.want {
			t.Errorf("%s: %+v", c.Type, a)
		}
	}
	if s, err := scanners.New(scan.Config{Type: "clamd", Addresses: []string{"tcp:127.0.0.1:1"}}); s == nil || err != nil {
		t.Errorf("clamd: %v, %v", s, err)
	}
}
