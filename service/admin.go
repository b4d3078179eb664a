// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/certpush/certpush/pipeline"
)

// admin serves the admin endpoint. It calls its functions at each request, so it serves
// on after a reload. Each connection has a goroutine of its own.
type admin struct {
	status  func() pipeline.Status
	sweep   func(tree string) error
	pipe    func() *pipeline.Pipeline // of the configuration in force
	reload  func(context.Context) error
	metrics func() prometheus.Gatherer
	token   func() string // "": only trusted peers may give orders
	nonces  *nonces
	host    string // the host part of the listen address
	unix    bool
	log     *slog.Logger
	crowd   crowd
}

// The longest header and body of a request, in bytes.
const (
	maxHeader = 16 << 10
	maxBody   = 1 << 10
)

// peerKey is the context's key for whether the peer of a connection or the sender of a
// request is trusted.
type peerKey struct{}

// trust returns a context of a peer that may give orders.
func trust(ctx context.Context) context.Context { return context.WithValue(ctx, peerKey{}, true) }

// server returns the HTTP server, which does not serve yet. Its limits bound the time
// and the memory that a client can hold.
func (a *admin) server() *http.Server {
	return &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			trusted := a.unix && trustedPeer(c)
			ctx = context.WithValue(ctx, guestKey{}, a.crowd.enter(c, trusted))
			if trusted {
				ctx = trust(ctx)
			}
			return ctx
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed || s == http.StateHijacked {
				a.crowd.leave(c)
			}
		},
	}
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, StatusText(a.shown(r), time.Now()))
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		s := a.shown(r)
		if len(s.NotReady) > 0 {
			lines := append(slices.Clone(s.NotReady), headline(s, time.Now()))
			http.Error(w, Printable(strings.Join(lines, "\n")), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, headline(s, time.Now()))
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(a.metrics(), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		s := a.shown(r)
		s.Summary = headline(s, time.Now())
		if err := json.NewEncoder(w).Encode(s); err != nil {
			a.log.Debug("status was not taken", "error", err)
		}
	})
	mux.Handle("POST /api/v1/sweep", a.guarded(func(r *http.Request) error { return a.sweep(r.URL.Query().Get("tree")) }))
	mux.Handle("POST /api/v1/reload", a.guarded(func(r *http.Request) error { return a.reload(r.Context()) }))
	a.lookups(mux)
	mux.HandleFunc("GET "+helloPath, a.greet)
	crossOrigin := http.NewCrossOriginProtection()
	return a.local(crossOrigin.Handler(a.challenged(mux)))
}

// local refuses requests that a foreign web page may send through a browser on this
// machine: those for a host name that was rebound to loopback, and cross-site requests.
func (a *admin) local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		switch {
		case !a.unix && !a.allowed(r.Host):
			http.Error(w, "this host name is not ours: use http://127.0.0.1 with the port of admin.listen", http.StatusForbidden)
		case r.Header.Get("Sec-Fetch-Site") == "cross-site":
			http.Error(w, "cross-site requests are refused: open the address itself", http.StatusForbidden)
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next.ServeHTTP(w, r)
		}
	})
}

// allowed reports whether the Host header is localhost, a loopback address or the listen
// host.
func (a *admin) allowed(host string) bool {
	name := host
	if strings.Contains(host, ":") && !strings.HasSuffix(host, "]") {
		n, port, err := net.SplitHostPort(host)
		if err != nil || strings.Trim(port, "0123456789") != "" {
			return false
		}
		name = n
	} else {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	}
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || name != "" && name == a.host || ip != nil && ip.IsLoopback()
}

// trusted reports whether a request may give orders: its peer is trusted, or it shows the
// token or proves to know it.
func (a *admin) trusted(r *http.Request) bool {
	if ok, _ := r.Context().Value(peerKey{}).(bool); ok {
		return true
	}
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token := a.token()
	return bearer && token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// shown returns the status that the sender of a request may see. Over TCP that is without
// the names of what lies in the trees, unless the request shows the token.
func (a *admin) shown(r *http.Request) pipeline.Status {
	s := a.status()
	if !a.unix && !a.trusted(r) {
		return s.Nameless()
	}
	return s
}

// guarded is told for an order that answers nothing but whether it is done.
func (a *admin) guarded(do func(*http.Request) error) http.Handler {
	return a.told(func(r *http.Request) (any, error) { return nil, do(r) })
}

// told returns a handler that calls do and answers with its result as JSON. It serves
// only clients that send the token, and trusted peers: root and our own user on the
// Unix socket.
func (a *admin) told(do func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.trusted(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token is missing or wrong: send Authorization: Bearer with the content of admin.token in the state folder", http.StatusUnauthorized)
			return
		}
		g, _ := r.Context().Value(guestKey{}).(*guest)
		if !a.crowd.keep(g) {
			http.Error(w, "too many orders are carried out at once: wait until one is done", http.StatusServiceUnavailable)
			return
		}
		defer a.crowd.release(g)
		// A look over a million files takes long: no deadline.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
			a.log.Debug("write deadline stays", "error", err)
		}
		answer, err := do(r)
		if err != nil {
			http.Error(w, Printable(err.Error()), http.StatusUnprocessableEntity)
			return
		}
		if answer == nil {
			fmt.Fprintln(w, "done")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			a.log.Debug("answer was not taken", "error", err)
		}
	})
}

// Printable returns text that is safe to print on a terminal. A line with a character
// that cannot be shown is quoted in ASCII.
func Printable(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// serve answers on l until ctx ends. Requests that run then have two seconds to end.
func (a *admin) serve(ctx context.Context, l net.Listener) error {
	srv := a.server()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(&steady{Listener: l, log: a.log, closed: make(chan struct{})}) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve admin endpoint: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = srv.Close()
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
