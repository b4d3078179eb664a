// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline"
)

const testToken = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// testAdmin is an admin that counts the orders it takes.
func testAdmin(orders *int) *admin {
	return &admin{
		status: func() pipeline.Status {
			return pipeline.Status{Version: "1", Started: time.Now(), Trees: []pipeline.TreeStatus{{Name: "\u202ex", Path: "/srv/\x1b[2J"}}, NotReady: []string{"scanner \x1b[2J is down"}}
		},
		sweep:   func(string) error { *orders++; return nil },
		reload:  func(context.Context) error { *orders++; return errors.New("no") },
		metrics: func() prometheus.Gatherer { return prometheus.NewRegistry() },
		token:   func() string { return testToken }, nonces: newNonces(), host: "127.0.0.1", log: slog.New(slog.DiscardHandler),
	}
}

func TestRoutesAnswerAndShowNothingRaw(t *testing.T) {
	orders := 0
	h := testAdmin(&orders).handler()
	for path, code := range map[string]int{
		"/": 200, "/healthz": 200, "/readyz": 503, "/metrics": 200, "/api/v1/status": 200,
		"/debug/pprof/": 404, "/debug/vars": 404, "/x": 404, "/api/v1/sweep": 405, "/api/v1/reload": 405,
		"/api/v1/why": 405, "/api/v1/verify": 405, "/api/v1/dead": 405, "/api/v1/dead/retry": 405, "/api/v1/dead/drop": 405, "/api/v1/pause": 405, "/api/v1/resume": 405,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost:9440"
		r.Header.Set("Authorization", "Bearer "+testToken)
		h.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code != code || strings.ContainsAny(body, "\x1b") || path == "/" && strings.Contains(body, "\u202e") {
			t.Errorf("%s: %d %q", path, w.Code, body)
		}
	}
	if orders != 0 {
		t.Errorf("a GET changed something")
	}
}

func TestHostIsHeldAgainstTheList(t *testing.T) {
	orders := 0
	h := testAdmin(&orders).handler()
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9440": 200, "127.0.0.1:9440": 200, "127.0.0.2": 200, "[::1]:9440": 200, "[::1]": 200, "localhost:18080": 200,
		"evil.example": 403, "": 403, "localhost.evil.example": 403, "localhost.": 403, "10.0.0.1": 403, "127.0.0.1.evil.example:9440": 403,
		"localhost:evil": 403, "127.0.0.1:80:80": 403, "0.0.0.0": 403, "[::]:9440": 403, "evil.example:9440": 403,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/healthz", nil)
		r.Host = host
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestOrdersNeedTheTokenAndComeFromNoPage(t *testing.T) {
	orders := 0
	a := testAdmin(&orders)
	post := func(change func(*http.Request)) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/api/v1/sweep?tree=x", nil)
		r.Host = "127.0.0.1:9440"
		r.Header.Set("Authorization", "Bearer "+testToken)
		change(r)
		a.handler().ServeHTTP(w, r)
		return w.Code
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"no token":       {header("Authorization", ""), 401},
		"wrong token":    {header("Authorization", "Bearer "+strings.Repeat("0", 64)), 401},
		"basic":          {header("Authorization", "Basic "+testToken), 401},
		"token in URL":   {func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "token=" + testToken }, 401},
		"cross-site":     {header("Sec-Fetch-Site", "cross-site"), 403},
		"same-site":      {header("Sec-Fetch-Site", "same-site"), 403},
		"foreign origin": {header("Origin", "http://evil.example"), 403},
		"foreign host":   {func(r *http.Request) { r.Host = "evil.example" }, 403},
	} {
		if got := post(c.change); got != c.want || orders != 0 {
			t.Errorf("%s: %d, want %d; orders %d", name, got, c.want, orders)
		}
	}
	if got := post(func(*http.Request) {}); got != 200 || orders != 1 {
		t.Errorf("right token: %d; orders %d", got, orders)
	}
	a.token = func() string { return "" }
	if got := post(header("Authorization", "Bearer ")); got != 401 {
		t.Errorf("without a token of our own: %d", got)
	}
}

func TestOnlyAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := endpoint{"unix", path}
	if _, err := e.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("%q %v", text, err)
	}
}

func TestTokenIsMadeOnceAndReadStrictly(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	a, err := openToken(state)
	if err != nil || len(a) != 64 {
		t.Fatalf("%q %v", a, err)
	}
	b, err := openToken(state)
	if err != nil || a != b {
		t.Errorf("%q then %q, %v", a, b, err)
	}
	path := filepath.Join(state, tokenFile)
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openToken(state); err == nil {
		t.Error("a short token is taken")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	symlink(t, "/etc/hostname", path)
	if _, err := openToken(state); err == nil {
		t.Error("a link is followed")
	}
}

func TestPushServesBesideWatch(t *testing.T) {
	socket := "unix:" + rooted("/run/a.sock")
	for in, want := range map[string]string{"127.0.0.1:9440": "127.0.0.1:9441", "[::1]:1": "[::1]:2", socket: socket + ".push", "off": ""} {
		e, err := parseListen(in)
		if err != nil || e.of(ConsumerOnly).String() != want || e.of(Both) != e {
			t.Errorf("%s: %v, %v", in, e.of(ConsumerOnly), err)
		}
	}
}

func TestStatusTextSaysWhatWaits(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	swept := now.Add(-90 * time.Second)
	text := StatusText(pipeline.Status{
		Version: "1", Started: now.Add(-50 * time.Hour),
		Trees:    []pipeline.TreeStatus{{Name: "samples", Path: "/srv/samples", Engine: "fsnotify", Directories: 3, LastSweep: &swept, Watched: true}},
		Scanners: []pipeline.ScannerStatus{{Name: "clamav", Since: now.Add(-4 * time.Minute), Journaled: 10, Done: 6, Dead: 1, DeadLetters: 1, Waiting: 3, OldestWaiting: 252}},
	}, now)
	want, err := os.ReadFile("testdata/status.txt")
	if err != nil || text != string(want) {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := io.WriteString(io.Discard, StatusText(pipeline.Status{}, now)); err != nil {
		t.Error(err)
	}
}
