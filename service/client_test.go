// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofrs/flock"

	"github.com/certpush/certpush/pipeline"
)

// halves serves answers at the doors of `watch` and `push`, and returns the configuration
// with their state.
func halves(t *testing.T, watch, push http.HandlerFunc) Flags {
	t.Helper()
	state := t.TempDir()
	token, err := openToken(state)
	if err != nil {
		t.Fatal(err)
	}
	for half, answer := range map[pipeline.Half]http.HandlerFunc{ProducerOnly: watch, ConsumerOnly: push} {
		e := endpoint{"tcp", "127.0.0.1:0"}
		if knowsPeers {
			e = ownSocket(state).of(half)
		}
		l, err := e.listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hold(t, state, map[pipeline.Half]string{ProducerOnly: "producer", ConsumerOnly: "consumer"}[half])
		n := note{PID: os.Getpid()}
		a := &admin{token: func() string { return token }, nonces: newNonces(), log: slog.New(slog.DiscardHandler)}
		var h http.Handler = answer
		if knowsPeers {
			n.Socket = e.address
		} else {
			n.Listen = l.Addr().String()
			mux := http.NewServeMux()
			mux.HandleFunc("GET "+helloPath, a.greet)
			mux.Handle("/", answer)
			h = a.challenged(mux)
		}
		if err := n.save(state, half); err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(h)
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
	}
	return Flags{File: written(t, fmt.Sprintf("state = '%s'\n", state))}
}

// hold takes a lock of a state folder, as a process that runs does.
func hold(t *testing.T, state, half string) {
	t.Helper()
	lock := flock.New(filepath.Join(state, "."+half+".lock"))
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() {
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	})
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
