// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 16 << 20

// askLimit is how long an answer may take. A reload answers when the old workers have
// finished.
const askLimit = 30 * time.Second

// client asks the running service over its admin endpoint.
type client struct {
	listen   endpoint
	state    string
	bad      error // the problems of the configuration that we read
	settings Settings
	limit    time.Duration // how long an answer may take
}

// newClient reads from the configuration where the service listens. The file may have
// problems, as long as that can be read: the service may run with an older
// configuration. If the endpoint is off, the error is a silence.
func newClient(f Flags) (*client, error) {
	c, err := readClient(f)
	if err == nil && c.listen == (endpoint{}) {
		return nil, silence{errors.New("ask service: the admin endpoint is off: set [admin] listen, or send signals to the process")}
	}
	return c, err
}

// readClient is newClient, but an endpoint that is off is not an error.
func readClient(f Flags) (*client, error) {
	s, bad := Load(f)
	var wrong *ConfigError
	if bad != nil && !errors.As(bad, &wrong) {
		return nil, bad
	}
	listen, err := parseListen(s.Listen)
	if err != nil {
		return nil, bad
	}
	return &client{listen: listen, state: s.Pipeline.State, bad: bad, settings: s, limit: askLimit}, nil
}

// silence is the error if nobody answers: no service runs, or it listens elsewhere.
type silence struct{ error }

// refusal is the error of a service that answers with a failure.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// ask sends a request to both addresses at which halves of the service may listen. It
// returns the bodies of the successes. If there are none it returns an error: a silence
// if nobody answered.
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
	token, noToken := "", error(nil)
	if method == http.MethodPost {
		// On the Unix socket our uid may be enough. So a missing token is an error only
		// if a half refuses.
		token, noToken = readToken(c.state)
	}
	var silent []error
	for _, e := range []endpoint{c.listen, c.listen.of(pipeline.ConsumerOnly)} {
		body, err := e.request(ctx, method, path, token)
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
	switch {
	case refused != nil && noToken != nil && c.listen.network != "unix":
		return nil, nil, fmt.Errorf("%w: run as the user of the service or as root, and name its file with -c", noToken)
	case len(bodies) > 0 || refused != nil:
		return bodies, refused, nil
	case c.bad != nil:
		return nil, nil, c.bad
	}
	return nil, nil, silence{fmt.Errorf("ask service: nothing answers at %s (%w): start it with systemctl start certpush or certpush run, or name its file with -c", c.listen, silent[0])}
}

// request sends one request to e and returns the body. An answer other than 200 is a
// *refusal; with 401 and 403 it has the code ExitPermission.
func (e endpoint) request(ctx context.Context, method, path, token string) ([]byte, error) {
	host := "certpush"
	if e.network == "tcp" {
		host = e.address
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// Our own transport, so that no proxy of the environment is used.
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, e.network, e.address)
	}}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		no := &refusal{strings.TrimSpace(Printable(string(body)))}
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			return nil, &coded{ExitPermission, no}
		}
		return nil, no
	}
	return body, nil
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
// is in force. The error says why the service refused it.
//
// The file may name another address than the one at which the service listens now. If
// nobody answers there, Reload asks at the address that the service noted in its state
// folder. If nobody answers there either, it sends SIGHUP to the process that systemd
// names in MAINPID; a signal has no answer, so the result is nil.
func Reload(ctx context.Context, f Flags) error {
	c, err := readClient(f)
	if err != nil {
		return err
	}
	ask := func() (bodies [][]byte, refused, err error) {
		return c.askBoth(ctx, http.MethodPost, "/api/v1/reload")
	}
	var nobody silence
	var bodies [][]byte
	var refused error
	switch {
	case c.listen != (endpoint{}):
		bodies, refused, err = ask()
	case c.bad != nil:
		err = c.bad
	default:
		err = silence{errors.New("the admin endpoint is off")}
	}
	if noted, ok := notedListen(c.state); errors.As(err, &nobody) && ok && noted != c.listen {
		c.listen = noted
		bodies, refused, err = ask()
	}
	if errors.As(err, &nobody) && c.bad == nil && hangup(os.Getenv("MAINPID")) {
		return nil
	}
	switch {
	case errors.As(err, &nobody):
		return fmt.Errorf("reload: %w; where the address that it listens at or its state were changed in the file, use systemctl reload certpush, send it SIGHUP, or restart it", err)
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
