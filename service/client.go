// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 16 << 20

// askLimit is how long an answer may take. A reload answers when the old workers have
// finished.
const askLimit = 30 * time.Second

// client asks the running service at the doors that it noted.
type client struct {
	state    string
	bad      error // the problems of the configuration that we read
	settings Settings
	limit    time.Duration // how long an answer may take
}

// newClient reads from the configuration where the state lies. The file may have problems,
// as long as that can be read: the service may run with an older configuration.
func newClient(f Flags) (*client, error) {
	s, bad := Load(f)
	var wrong *ConfigError
	if bad != nil && (!errors.As(bad, &wrong) || s.Pipeline.State == "") {
		return nil, bad
	}
	return &client{state: s.Pipeline.State, bad: bad, settings: s, limit: askLimit}, nil
}

// silence is the error if nobody answers: no service runs on this state.
type silence struct{ error }

// Unwrap returns the cause.
func (s silence) Unwrap() error { return s.error }

// refusal is the error of a service that answers with a failure.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// ask sends a request to both halves of the service. It returns the bodies of the
// successes. If there are none it returns an error: a silence if nobody answered.
func (c *client) ask(ctx context.Context, method, path string) ([][]byte, error) {
	bodies, refused, err := c.askBoth(ctx, method, path)
	if err == nil && len(bodies) == 0 {
		err = refused
	}
	return bodies, err
}

// askBoth is ask, but one half may succeed and the other refuse: bodies are of the
// successes, and refused joins the refusals. err says that neither half could be asked.
func (c *client) askBoth(ctx context.Context, method, path string) (bodies [][]byte, refused, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	var silent []error
	for _, half := range []pipeline.Half{pipeline.Both, pipeline.ConsumerOnly} {
		body, err := c.askHalf(ctx, half, method, path)
		var no *refusal
		switch {
		case err == nil:
			bodies = append(bodies, body)
		case errors.As(err, &no):
			// Both halves read the same file, so both may refuse with the same words.
			if refused == nil || refused.Error() != err.Error() {
				refused = errors.Join(refused, err)
			}
		default:
			silent = append(silent, err)
		}
	}
	if len(bodies) > 0 || refused != nil {
		return bodies, refused, nil
	}
	if c.bad != nil {
		return nil, nil, c.bad
	}
	return nil, nil, c.unheard(silent)
}

// unheard returns the error if neither half answered. The first error that says more than
// that nobody is there counts.
func (c *client) unheard(silent []error) error {
	why := silent[0]
	for _, err := range silent {
		if !errors.Is(err, fs.ErrNotExist) && !refuses(err) {
			why = err
			break
		}
	}
	if errors.Is(why, fs.ErrPermission) {
		return &coded{ExitPermission, fmt.Errorf("ask service: %w: run as root or as the user of the service, and name its file with -c", why)}
	}
	return silence{fmt.Errorf("ask service: nothing answers for the state %s (%w): start it with certpush service start or certpush run, or name its file with -c", printable(c.state), why)}
}

// askHalf asks one half of the service, which a process with both halves answers as the
// producer. On a system that knows peers it asks at a socket, and sends no token. On any
// other it asks over TCP, while the lock of that half is held, and proves to know the
// token.
func (c *client) askHalf(ctx context.Context, half pipeline.Half, method, path string) ([]byte, error) {
	n, err := readNote(c.state, half)
	if !knowsPeers {
		if err != nil {
			return nil, err
		}
		return c.askProven(ctx, n, half, method, path)
	}
	sockets := []string{filepath.Join(c.state, socketFile) + suffix(half)}
	switch {
	case n.Socket != "":
		sockets = []string{n.Socket}
	case c.state == defaultState():
		sockets = append(sockets, unitSocket+suffix(half))
	}
	var errs []error
	for _, socket := range sockets {
		body, err := c.askSocket(ctx, socket, method, path)
		var no *refusal
		if err == nil || errors.As(err, &no) {
			return body, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// askSocket asks at a Unix socket whose listener runs as root or as the owner of the
// state.
func (c *client) askSocket(ctx context.Context, path, method, uri string) ([]byte, error) {
	body, _, err := request(ctx, method, "certpush", uri, "", func(ctx context.Context) (net.Conn, error) {
		conn, err := dialSocket(ctx, path)
		if err != nil {
			return nil, err
		}
		if err := knownListener(conn, c.state); err != nil {
			return nil, errors.Join(fmt.Errorf("socket %s: %w", printable(path), err), conn.Close())
		}
		return conn, nil
	})
	return body, err
}

// askProven asks at the noted address. It sends nothing but a nonce before the listener
// has proved that it knows the token.
func (c *client) askProven(ctx context.Context, n note, half pipeline.Half, method, uri string) ([]byte, error) {
	if n.Listen == "" {
		return nil, errors.New("the admin endpoint is off: set [admin] listen, or send signals to the process")
	}
	lock := pipeline.ProducerOnly
	if half == pipeline.ConsumerOnly {
		lock = half
	}
	if held, err := pipeline.Held(c.state, lock); err != nil || !held {
		return nil, errors.Join(fmt.Errorf("no process holds the state: %w", fs.ErrNotExist), err)
	}
	token, err := readToken(c.state)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", n.Listen)
	}
	ours := newNonce()
	body, _, err := request(ctx, http.MethodGet, n.Listen, helloPath+"?nonce="+ours, "", dial)
	if err != nil {
		return nil, err
	}
	var h hello
	if err := json.Unmarshal(body, &h); err != nil || !proven(h.Proof, token, "listener", ours, h.Nonce) {
		return nil, fmt.Errorf("listener at %s: %w", n.Listen, errUnproven)
	}
	body, answer, err := request(ctx, method, n.Listen, uri, signed(token, h.Nonce, method, uri), dial)
	if answer != nil && !proven(answer.Header.Get(proofHeader), token, answerWords(h.Nonce, answer.StatusCode, body)...) {
		return nil, fmt.Errorf("listener at %s: %w", n.Listen, errUnproven)
	}
	return body, err
}

// request sends one request over a connection of dial, and returns the body and the
// answer. An answer other than 200 is a *refusal; with 401 and 403 it has the code
// ExitPermission.
func request(ctx context.Context, method, host, uri, authorization string, dial func(context.Context) (net.Conn, error)) ([]byte, *http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+uri, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make request: %w", err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	// Our own transport, so that no proxy of the environment is used.
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return body, resp, nil
	}
	no := &refusal{strings.TrimSpace(Printable(string(body)))}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return body, resp, &coded{ExitPermission, &refusal{"only root and the user of the service may ask for this: run as one of them"}}
	case http.StatusForbidden:
		return body, resp, &coded{ExitPermission, no}
	}
	return body, resp, no
}

// order asks the running service to do something.
func order(ctx context.Context, f Flags, what, path string) error {
	c, err := newClient(f)
	if err == nil {
		_, err = c.ask(ctx, http.MethodPost, path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Pause lets the running service push nothing to a scanner until Resume.
func Pause(ctx context.Context, f Flags, scanner string) error {
	return order(ctx, f, "pause", "/api/v1/pause?scanner="+url.QueryEscape(scanner))
}

// Resume lets pushing to a scanner go on.
func Resume(ctx context.Context, f Flags, scanner string) error {
	return order(ctx, f, "resume", "/api/v1/resume?scanner="+url.QueryEscape(scanner))
}

// Sweep asks the running service for a sweep of tree; "": of all trees.
func Sweep(ctx context.Context, f Flags, tree string) error {
	return order(ctx, f, "sweep", "/api/v1/sweep?tree="+url.QueryEscape(tree))
}

// Reload asks the running service to read its configuration again, and waits until that
// is in force. The error says why the service refused it. If nobody answers, Reload sends
// SIGHUP to the process that systemd names in MAINPID; a signal has no answer, so the
// result is nil.
func Reload(ctx context.Context, f Flags) error {
	c, err := newClient(f)
	if err != nil {
		return err
	}
	bodies, refused, err := c.askBoth(ctx, http.MethodPost, "/api/v1/reload")
	var nobody silence
	unheard := errors.As(err, &nobody)
	if unheard && hangup(os.Getenv("MAINPID")) {
		return nil
	}
	switch {
	case unheard:
		return fmt.Errorf("reload: %w; where its state was changed in the file, use systemctl reload certpush, send it SIGHUP, or restart it", err)
	case err != nil:
		return fmt.Errorf("reload: %w", err)
	case Code(refused) == ExitPermission:
		return fmt.Errorf("reload: %w", refused)
	case refused != nil && len(bodies) > 0:
		return configError(fmt.Errorf("reload: one half took it over, in the other the old configuration stays in force:\n%w", refused))
	case refused != nil:
		return configError(fmt.Errorf("reload: refused, the old configuration stays in force:\n%w", refused))
	}
	return nil
}
