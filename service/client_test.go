// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// halves serves answers at the addresses of `watch` and `push`, and returns the
// configuration that names them.
func halves(t *testing.T, watch, push http.HandlerFunc) Flags {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
		if err != nil {
			first.Close()
			continue
		}
		for l, answer := range map[net.Listener]http.HandlerFunc{first: watch, second: push} {
			s := httptest.NewUnstartedServer(answer)
			s.Listener.Close()
			s.Listener = l
			s.Start()
			t.Cleanup(s.Close)
		}
		state := t.TempDir()
		if _, err := openToken(state); err != nil {
			t.Fatal(err)
		}
		return Flags{File: written(t, fmt.Sprintf("state = '%s'\n[admin]\nlisten = \"127.0.0.1:%d\"\n", state, port))}
	}
	t.Fatal("no two free ports in a row")
	return Flags{}
}

// TestReloadTellsOfAHalfThatRefused, also if the other half succeeds.
func TestReloadTellsOfAHalfThatRefused(t *testing.T) {
	yes := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "done") }
	no := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "disk full", http.StatusUnprocessableEntity)
	}
	for _, c := range []struct {
		watch, push http.HandlerFunc
		code        int
		says        string
	}{
		{yes, yes, ExitOK, ""},
		{yes, no, ExitConfig, "one half took it over, in the other the old configuration stays in force:\ndisk full"},
		{no, yes, ExitConfig, "one half took it over"},
		{no, no, ExitConfig, "refused, the old configuration stays in force:\ndisk full"},
	} {
		err := Reload(t.Context(), halves(t, c.watch, c.push))
		if Code(err) != c.code {
			t.Errorf("code %d, want %d: %v", Code(err), c.code, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.says) || strings.Count(err.Error(), "disk full") != 1) {
			t.Errorf("got %q, want %q", err, c.says)
		}
	}
}

// TestSweepIsAskedOfBothHalves, because only one has trees.
func TestSweepIsAskedOfBothHalves(t *testing.T) {
	yes := func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("tree"); got != "a b&c" {
			t.Errorf("asked for %q", got)
		}
	}
	no := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no \x1b[31mtrees", http.StatusUnprocessableEntity)
	}
	if err := Sweep(t.Context(), halves(t, yes, no), "a b&c"); err != nil {
		t.Error(err)
	}
	err := Sweep(t.Context(), halves(t, no, no), "a b&c")
	if err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %q", err)
	}
}
