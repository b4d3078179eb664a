// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file lets the command and the service show each other over TCP that both know the
// token, so that the token itself is never sent. The command asks with a nonce of its
// own. The service answers with a nonce and the proof that it knows the token. Only then
// the command sends its order, with a proof for this one order. The answer has a proof
// too.

const (
	scheme      = "Certpush " // of the Authorization header
	proofHeader = "Certpush-Proof"
	helloPath   = "/api/v1/hello"
	nonceFor    = time.Minute // a nonce of the service is good for this time, once
	nonceLen    = 32          // bytes
)

// prove returns the proof for these words.
func prove(token string, words ...string) string {
	mac := hmac.New(sha256.New, []byte(token))
	for _, w := range words {
		fmt.Fprintf(mac, "%d:%s\n", len(w), w)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// proven reports whether proof is the one for these words.
func proven(proof, token string, words ...string) bool {
	return token != "" && hmac.Equal([]byte(proof), []byte(prove(token, words...)))
}

// newNonce returns random bytes in hex.
func newNonce() string {
	b := make([]byte, nonceLen)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// nonces makes the nonces of a service, and takes each of them once. It keeps only those
// that were taken: so nobody without the token can fill it.
type nonces struct {
	key string

	mu   sync.Mutex // guards used
	used map[string]time.Time
}

func newNonces() *nonces { return &nonces{key: newNonce(), used: map[string]time.Time{}} }

// give returns a nonce.
func (n *nonces) give(now time.Time) string {
	text := strconv.FormatInt(now.Unix(), 10) + "." + newNonce()
	return text + "." + prove(n.key, text)
}

// take reports whether nonce is ours, is young and was not taken before.
func (n *nonces) take(nonce string, now time.Time) bool {
	text, mac := nonce, ""
	if i := strings.LastIndexByte(nonce, '.'); i > 0 {
		text, mac = nonce[:i], nonce[i+1:]
	}
	at, _, _ := strings.Cut(text, ".")
	made, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !proven(mac, n.key, text) || now.Sub(time.Unix(made, 0)).Abs() > nonceFor {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for old, when := range n.used {
		if now.Sub(when) > 2*nonceFor {
			delete(n.used, old)
		}
	}
	if _, twice := n.used[nonce]; twice {
		return false
	}
	n.used[nonce] = now
	return true
}

// hello is the answer to the command's first question.
type hello struct {
	Nonce string `json:"nonce"`
	Proof string `json:"proof"`
}

// greet answers the command's first question.
func (a *admin) greet(w http.ResponseWriter, r *http.Request) {
	theirs, token := r.URL.Query().Get("nonce"), a.token()
	if raw, err := hex.DecodeString(theirs); err != nil || len(raw) != nonceLen {
		http.Error(w, "nonce is not 64 hex digits: see certpush(8) for how the command asks", http.StatusBadRequest)
		return
	}
	if token == "" {
		http.Error(w, "there is no token yet: wait until the state is open", http.StatusServiceUnavailable)
		return
	}
	ours := a.nonces.give(time.Now())
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(hello{ours, prove(token, "listener", theirs, ours)}); err != nil {
		a.log.Debug("hello was not taken", "error", err)
	}
}

// signed returns the Authorization header for one request.
func signed(token, theirs, method, uri string) string {
	return scheme + theirs + " " + prove(token, "order", theirs, method, uri)
}

// challenged serves requests that prove to know the token, and adds to their answers the
// proof that the answer is ours. It hands all other requests to next as they are.
func (a *admin) challenged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, is := strings.CutPrefix(r.Header.Get("Authorization"), scheme)
		if !is {
			next.ServeHTTP(w, r)
			return
		}
		nonce, proof, _ := strings.Cut(given, " ")
		token := a.token()
		if !proven(proof, token, "order", nonce, r.Method, r.URL.RequestURI()) || !a.nonces.take(nonce, time.Now()) {
			http.Error(w, "the proof is wrong or too old: ask again", http.StatusUnauthorized)
			return
		}
		held := &heldAnswer{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(held, r.WithContext(trust(r.Context())))
		w.Header().Set(proofHeader, prove(token, answerWords(nonce, held.code, held.body.Bytes())...))
		w.WriteHeader(held.code)
		if _, err := w.Write(held.body.Bytes()); err != nil {
			a.log.Debug("answer was not taken", "error", err)
		}
	})
}

// answerWords returns the words of which the proof of an answer is made.
func answerWords(nonce string, code int, body []byte) []string {
	sum := sha256.Sum256(body)
	return []string{"answer", nonce, strconv.Itoa(code), string(sum[:])}
}

// heldAnswer holds an answer back until it is whole.
type heldAnswer struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (h *heldAnswer) WriteHeader(code int) { h.code = code }

// Write implements http.ResponseWriter.
func (h *heldAnswer) Write(b []byte) (int, error) { return h.body.Write(b) }

// Unwrap lets a http.ResponseController reach the connection.
func (h *heldAnswer) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// errUnproven says that a listener does not know the token.
var errUnproven = errors.New("it did not prove that it is the certpush of this state folder")
