// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// provenClient returns a client whose service notes that it listens at server.
func provenClient(t *testing.T, server *httptest.Server) (*client, note, string) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	token, err := openToken(state)
	if err != nil {
		t.Fatal(err)
	}
	hold(t, state, "producer")
	return &client{state: state, limit: time.Minute}, note{PID: 1, Listen: server.Listener.Addr().String()}, token
}

// TestTheTokenIsNeverSent: the listener proves first that it knows the token, and the
// order shows a proof. A stranger gets neither the order nor the token.
func TestTheTokenIsNeverSent(t *testing.T) {
	var heard strings.Builder
	orders := 0
	a := testAdmin(&orders)
	inner := a.handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.Write(&heard); err != nil {
			t.Error(err)
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	c, n, token := provenClient(t, server)
	if _, err := c.askProven(t.Context(), n, Both, "POST", "/api/v1/sweep?tree=x"); !errors.Is(err, errUnproven) || orders != 0 {
		t.Errorf("a stranger is believed: %v; %d orders", err, orders)
	}
	if text := heard.String(); strings.Contains(text, "sweep") || strings.Contains(text, token) {
		t.Errorf("the stranger heard %s", text)
	}
	a.token = func() string { return token }
	if _, err := c.askProven(t.Context(), n, Both, "POST", "/api/v1/sweep?tree=x"); err != nil || orders != 1 {
		t.Errorf("the service is not believed: %v; %d orders", err, orders)
	}
	if _, err := c.askProven(t.Context(), n, Both, "GET", "/api/v1/status"); err != nil {
		t.Error(err)
	}
	if text := heard.String(); !strings.Contains(text, "sweep") || strings.Contains(text, token) {
		t.Errorf("the service heard %s", text)
	}
	if _, err := c.askProven(t.Context(), n, ConsumerOnly, "GET", "/api/v1/status"); err == nil {
		t.Error("a half that does not hold its lock is asked")
	}
}

// TestAProofIsGoodOnce, for one order, and for a minute.
func TestAProofIsGoodOnce(t *testing.T) {
	orders := 0
	a := testAdmin(&orders)
	h := a.handler()
	post := func(uri, authorization string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", uri, nil)
		r.Host = "127.0.0.1:9440"
		r.Header.Set("Authorization", authorization)
		h.ServeHTTP(w, r)
		return w.Code
	}
	nonce := a.nonces.give(time.Now())
	good := signed(testToken, nonce, "POST", "/api/v1/sweep")
	if code := post("/api/v1/sweep?tree=other", good); code != 401 {
		t.Errorf("the proof of another order: %d", code)
	}
	if code := post("/api/v1/sweep", good); code != 200 || orders != 1 {
		t.Errorf("a good proof: %d, %d orders", code, orders)
	}
	if code := post("/api/v1/sweep", good); code != 401 || orders != 1 {
		t.Errorf("the same again: %d, %d orders", code, orders)
	}
	old := a.nonces.give(time.Now().Add(-2 * nonceFor))
	for name, nonce := range map[string]string{"old": old, "made up": "1.2.3", "empty": "", "of another": newNonces().give(time.Now())} {
		if code := post("/api/v1/sweep", signed(testToken, nonce, "POST", "/api/v1/sweep")); code != 401 {
			t.Errorf("%s nonce: %d", name, code)
		}
	}
}

// TestAnAnswerOnTheWayIsNotChanged: an answer without its proof is not believed.
func TestAnAnswerOnTheWayIsNotChanged(t *testing.T) {
	orders := 0
	a := testAdmin(&orders)
	inner := a.handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		inner.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		body := rec.Body.String()
		if r.URL.Path != helloPath {
			body = strings.ReplaceAll(body, "1", "2")
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	c, n, token := provenClient(t, server)
	a.token = func() string { return token }
	if _, err := c.askProven(t.Context(), n, Both, "GET", "/api/v1/status"); !errors.Is(err, errUnproven) {
		t.Errorf("got %v", err)
	}
}

// TestHelloTellsNobodyAProof that could serve for an order or an answer.
func TestHelloTellsNobodyAProof(t *testing.T) {
	a := testAdmin(new(int))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", helloPath+"?nonce="+url.QueryEscape("order\nx"), nil).WithContext(context.Background())
	r.Host = "localhost"
	a.handler().ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("a nonce of any text: %d", w.Code)
	}
	w = httptest.NewRecorder()
	ours := newNonce()
	r = httptest.NewRequest("GET", helloPath+"?nonce="+ours, nil)
	r.Host = "localhost"
	a.handler().ServeHTTP(w, r)
	var h hello
	if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || !proven(h.Proof, testToken, "listener", ours, h.Nonce) || proven(h.Proof, testToken, "order", h.Nonce, "POST", "/api/v1/sweep") {
		t.Errorf("%v %+v", err, h)
	}
}
