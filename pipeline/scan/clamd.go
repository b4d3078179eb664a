// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	fullWait    = time.Second      // how long to leave a full listen queue alone
	shun        = 10 * time.Second // an address that failed is tried last for this long
	hush        = time.Minute      // one that refused VERSION in a session is not asked there for this long
)

// clamd asks one or several clamd, in sessions (IDSESSION) of z-commands. Over
// a Unix socket the descriptor is passed (FILDES), over tcp the bytes are sent
// (INSTREAM). SCAN is never used: its replies echo a path of the attacker's.
type clamd struct {
	addresses []*address
	next      atomic.Uint64 // the next session's place in addresses
	timeout   time.Duration
	maxSize   int64
	keyed     bool
	log       *slog.Logger
}

// address is one clamd.
type address struct {
	network, at string // for net.Dial
	failed      atomic.Int64
	tells       atomic.Bool  // it answered VERSION when it was pinged last
	silent      atomic.Int64 // when it refused VERSION in a session
}

// String gives the address as it was configured.
func (a *address) String() string { return a.network + ":" + a.at }

func newClamd(c Config) (*clamd, error) {
	if len(c.Addresses) == 0 {
		return nil, errors.New(`make scanner clamd: no address: write unix:/path or tcp:host:port`)
	}
	s := &clamd{timeout: c.Timeout, maxSize: c.MaxSize, keyed: c.Keyed, log: c.Log}
	for _, text := range c.Addresses {
		a, err := parseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("make scanner clamd: %w", err)
		}
		s.addresses = append(s.addresses, a)
	}
	return s, nil
}

func parseAddress(text string) (*address, error) {
	network, at, _ := strings.Cut(text, ":")
	switch network {
	case "unix":
		if !passesDescriptors {
			return nil, fmt.Errorf("read address %q: no descriptor can be passed on this system: write tcp:host:port", text)
		}
		if !strings.HasPrefix(at, "/") {
			return nil, fmt.Errorf("read address %q: the socket's path is not absolute: write unix:/path", text)
		}
		return &address{network: network, at: at}, nil
	case "tcp":
		host, port, err := net.SplitHostPort(at)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("read address %q: no host and port: write tcp:host:port", text)
		}
		return &address{network: network, at: at}, nil
	}
	return nil, fmt.Errorf("read address %q: write unix:/path or tcp:host:port", text)
}

// Scan implements Scanner. It connects only when there is a file to send.
func (c *clamd) Scan(ctx context.Context, files iter.Seq[File]) []Answer {
	var s *session
	for f := range files {
		if s == nil {
			conn, a, err := c.dial(ctx)
			if err != nil {
				return []Answer{{Err: err}}
			}
			s = openSession(ctx, conn, a, c.timeout, c.keyed && a.versioned(time.Now().UnixNano()))
		}
		if !s.send(f) {
			break
		}
	}
	if s == nil {
		return nil
	}
	answers := s.finish(ctx, c.maxSize)
	c.note(s.address, answers)
	if s.silent {
		s.address.silent.Store(time.Now().UnixNano())
	}
	return answers
}

// note remembers whether an address took more than a connection. A session that
// ctx ended tells nothing.
func (c *clamd) note(a *address, answers []Answer) {
	switch f := answers[0].Err; {
	case f == nil:
		c.answers(a)
	case f.Kind == Down:
		c.fails(a, f)
	}
}

// fails has the address tried last for a while.
func (c *clamd) fails(a *address, err error) {
	if a.failed.Swap(time.Now().UnixNano()) == 0 {
		c.log.Warn("scanner address passed over", "address", a.String(), "error", err)
	}
}

// answers ends what fails began.
func (c *clamd) answers(a *address) {
	if a.failed.Load() != 0 && a.failed.Swap(0) != 0 {
		c.log.Info("scanner address answers again", "address", a.String())
	}
}

// dial connects to the next address, or to the first after it that lets us.
func (c *clamd) dial(ctx context.Context) (net.Conn, *address, *Failure) {
	start := int((c.next.Add(1) - 1) % uint64(len(c.addresses)))
	order := append(slices.Clone(c.addresses[start:]), c.addresses[:start]...)
	now := time.Now().UnixNano()
	slices.SortStableFunc(order, func(a, b *address) int {
		return a.shunned(now) - b.shunned(now)
	})
	var first *Failure
	for _, a := range order {
		conn, f := c.dialOne(ctx, a)
		if f == nil {
			return conn, a, nil
		}
		// A full queue is worth waiting for, whatever the other addresses say.
		if first == nil || f.Kind == Busy && first.Kind != Busy {
			first = f
		}
	}
	return nil, nil, first
}

// shunned is 1 while the address is to be tried last.
func (a *address) shunned(now int64) int {
	// The clock may have been set back since.
	if failed := a.failed.Load(); failed != 0 && now >= failed && now-failed < int64(shun) {
		return 1
	}
	return 0
}

// versioned reports whether the address may be asked for its version in a session.
// A clamd that refuses ends the session with that: since 1.5 an operator can have
// it so.
func (a *address) versioned(now int64) bool {
	silent := a.silent.Load()
	return a.tells.Load() && (silent == 0 || now < silent || now-silent >= int64(hush))
}

func (c *clamd) dialOne(ctx context.Context, a *address) (net.Conn, *Failure) {
	d := net.Dialer{Timeout: min(dialTimeout, c.timeout)}
	conn, err := d.DialContext(ctx, a.network, a.at)
	if err == nil {
		return conn, nil
	}
	// A Unix socket whose listen queue is full says EAGAIN at once.
	if errors.Is(err, syscall.EAGAIN) {
		return nil, &Failure{Kind: Busy, After: fullWait, Err: fmt.Errorf("connect to clamd: %w", err)}
	}
	if ctx.Err() == nil {
		c.fails(a, err)
	}
	return nil, &Failure{Kind: Down, Err: fmt.Errorf("connect to clamd: %w", err)}
}

// pingAll asks every address for its version.
func (c *clamd) pingAll(ctx context.Context) (versions []string, failures []*Failure) {
	versions = make([]string, len(c.addresses))
	failures = make([]*Failure, len(c.addresses))
	var wg sync.WaitGroup
	for i, a := range c.addresses {
		wg.Go(func() {
			versions[i], failures[i] = c.pingOne(ctx, a)
		})
	}
	wg.Wait()
	return versions, failures
}

// Key implements Scanner. A verdict may come from any address, so all have to
// answer, and with one version: one that is down may be back at once, and with
// older signatures. A version without the number of its database says nothing of
// those that are loaded.
func (c *clamd) Key(ctx context.Context) string {
	versions, failures := c.pingAll(ctx)
	for i, f := range failures {
		if f != nil || versions[i] != versions[0] {
			return ""
		}
	}
	if !numbered(versions[0]) {
		return ""
	}
	return versions[0]
}

// numbered tells if a version names its database: PROGRAM/NUMBER/TIME, in letters
// that can be seen.
func numbered(version string) bool {
	if strings.ContainsFunc(version, func(r rune) bool { return r < ' ' || r > '~' }) {
		return false
	}
	program, rest, _ := strings.Cut(version, "/")
	number, when, _ := strings.Cut(rest, "/")
	return program != "" && number != "0" && digits([]byte(number)) && when != ""
}

// Ping implements Scanner. The version names each different one that answered.
func (c *clamd) Ping(ctx context.Context) (string, error) {
	versions, failures := c.pingAll(ctx)
	var got []string
	var first *Failure
	for i, f := range failures {
		switch {
		case f == nil:
			got = append(got, versions[i])
		case first == nil:
			first = f
		}
	}
	if len(got) == 0 {
		return "", first
	}
	if slices.Contains(got, "") {
		return "", nil
	}
	slices.Sort(got)
	return strings.Join(slices.Compact(got), ", "), nil
}

const maxVersion = 256

// pingOne asks one address: PONG, then its version, then the end.
func (c *clamd) pingOne(ctx context.Context, a *address) (string, *Failure) {
	conn, f := c.dialOne(ctx, a)
	if f != nil {
		return "", f
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return "", &Failure{Kind: Down, Err: fmt.Errorf("ping clamd: %w", err)}
	}
	if ctx.Err() != nil {
		return "", &Failure{Kind: Down, Err: ended(ctx)}
	}
	_, sendErr := conn.Write([]byte("zIDSESSION\x00zPING\x00zVERSION\x00zEND\x00"))
	got, err := io.ReadAll(io.LimitReader(conn, 4*maxVersion))
	version, f := readPing(got)
	if f != nil && f.Kind == Down {
		f.Err = fmt.Errorf("ping clamd: %w", errors.Join(f.Err, sendErr, err, context.Cause(ctx)))
		if ctx.Err() == nil {
			c.fails(a, f)
		}
	}
	if f == nil {
		c.answers(a)
		a.tells.Store(version != "")
	}
	return version, f
}

// readPing reads what clamd said to PING and VERSION in a session.
func readPing(got []byte) (string, *Failure) {
	first, rest, ok := bytes.Cut(got, []byte{0})
	if string(got) == timedOut+"\n" {
		return "", reply{word: readTimeout}.judge(got).Err
	}
	if !ok {
		if len(got) > 0 && !strings.HasPrefix("1: PONG", string(got)) {
			return "", failed(Unclear, "ping clamd: the reply is not in the grammar").about(got)
		}
		return "", failed(Down, "no reply")
	}
	id, r := parseReply(first)
	if r.word == refusal {
		return "", r.judge(first).Err
	}
	second, rest, ok := bytes.Cut(rest, []byte{0})
	if id != 1 || r.word != pong || ok && len(rest) > 0 {
		return "", failed(Unclear, "ping clamd: the reply is not PONG").about(got)
	}
	if !ok {
		return "", failed(Down, "no version")
	}
	id, body, ok := cutID(second)
	if !ok || id != 2 || len(body) == 0 || len(body) > maxVersion {
		return "", failed(Unclear, "ping clamd: the reply is no version").about(second)
	}
	// Since 1.5 an operator can switch VERSION off.
	if _, known := standing(string(body)); known {
		return "", nil
	}
	return string(body), nil
}

// leadingPings is how many PINGs go ahead of a session's first file: their PONGs
// show that clamd took what we sent, and their random number keeps a stale or
// guessed reply from having the right id. One more goes before the end, to tell
// an end that we asked for from a hang-up after the last reply. In a keyed session
// the first of all and that last one are VERSIONs, whose replies show the same.
func leadingPings() int { return 1 + rand.IntN(8) }
