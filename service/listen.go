// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// endpoint is the address at which the admin endpoint listens. The zero endpoint is off.
type endpoint struct{ network, address string }

func (e endpoint) String() string {
	if e.network == "unix" {
		return "unix:" + e.address
	}
	return e.address
}

// parseListen reads the key admin.listen.
func parseListen(text string) (endpoint, error) {
	if text == "off" {
		return endpoint{}, nil
	}
	if path, is := strings.CutPrefix(text, "unix:"); is {
		if !filepath.IsAbs(path) || strings.ContainsFunc(path, unprintable) {
			return endpoint{}, fmt.Errorf("%q is not an absolute path: write \"unix:/run/certpush/admin.sock\"", text)
		}
		return endpoint{"unix", filepath.Clean(path)}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if bracketed := bareIPv6(text); err != nil && bracketed != "" {
		return endpoint{}, fmt.Errorf("%q: an IPv6 address stands in brackets: write %q", text, bracketed)
	}
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is not an address: write \"127.0.0.1:9440\", \"unix:/run/certpush/admin.sock\" or \"off\"", text)
	}
	// `push` listens at the next port.
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || n == 65535 {
		return endpoint{}, fmt.Errorf("%q has no port between 1 and 65534: write for example \"127.0.0.1:9440\"", text)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return endpoint{}, fmt.Errorf("%q can be reached from other machines, which needs TLS, and that is not built yet: write \"127.0.0.1:%s\" and put a proxy with TLS before it", text, port)
	}
	return endpoint{"tcp", text}, nil
}

// of returns the endpoint of the given half. That of `push` is not e but next to it, so
// that `watch` and `push` can run side by side.
func (e endpoint) of(half pipeline.Half) endpoint {
	if half != pipeline.ConsumerOnly {
		return e
	}
	switch e.network {
	case "unix":
		e.address += ".push"
	case "tcp":
		host, port, _ := net.SplitHostPort(e.address)
		n, _ := strconv.Atoi(port)
		e.address = net.JoinHostPort(host, strconv.Itoa(n+1))
	}
	return e
}

// listen opens e. It replaces a Unix socket that nobody answers. Anything else at that
// path stays, and is an error.
func (e endpoint) listen(ctx context.Context) (net.Listener, error) {
	if e.network != "unix" {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, e.network, e.address)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		return l, nil
	}
	if err := removeStale(ctx, e.address); err != nil {
		return nil, err
	}
	var l net.Listener
	err := throughFolder(e.address, func(path string) (err error) {
		var lc net.ListenConfig
		if l, err = lc.Listen(ctx, "unix", path); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // its path may be a short one that is not good any more
		if err := os.Chmod(path, 0o660); err != nil {
			return errors.Join(fmt.Errorf("set rights of socket: %w", err), l.Close(), os.Remove(path))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &socket{Listener: l, path: e.address}, nil
}

// socket is the listener of a Unix socket. Close removes the socket.
type socket struct {
	net.Listener
	path string
	once sync.Once
}

// Close implements net.Listener.
func (s *socket) Close() error {
	err := s.Listener.Close()
	s.once.Do(func() {
		if gone := os.Remove(s.path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove socket: %w", gone))
		}
	})
	return err
}

// steady is a listener whose Accept fails only when it is closed. If the system fails,
// for example for want of descriptors, Accept waits up to a second and tries again. A
// failure that lasts is logged when it begins and when it ends.
type steady struct {
	net.Listener
	log    *slog.Logger
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (s *steady) Accept() (net.Conn, error) {
	const first, longest = 5 * time.Millisecond, time.Second
	for wait, bad := first, false; ; wait = min(2*wait, longest) {
		c, err := s.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			if bad && err == nil {
				s.log.Info("admin endpoint takes connections again")
			}
			return c, err
		}
		// One failure may be a client that hung up; the second in a row is logged.
		if !bad && wait > first {
			s.log.Error("admin endpoint takes no connection; it is tried again: look how many descriptors are open", "error", err)
			bad = true
		}
		select {
		case <-s.closed:
		case <-time.After(wait):
		}
	}
}

// Close implements net.Listener.
func (s *steady) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Listener.Close()
}

// removeStale removes the Unix socket at path if nobody answers it.
func removeStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket: %w", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is not a socket: move it away", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := dialSocket(ctx, path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s is served by another process: stop it, or set another listen", path)
	}
	// Only ECONNREFUSED says that nobody listens; with a full queue somebody does.
	if !refuses(err) {
		return fmt.Errorf("ask socket: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}
