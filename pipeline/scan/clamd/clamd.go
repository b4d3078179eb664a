// SPDX-License-Identifier: Apache-2.0

package clamd

import (
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

	"github.com/certpush/certpush/pipeline/scan"
)

const (
	dialTimeout = 5 * time.Second
	fullWait    = time.Second // how long to leave a full listen queue alone
)

// clamd asks one or several clamd, in sessions (IDSESSION) of z-commands. Over
// a Unix socket the descriptor is passed (FILDES), over tcp the bytes are sent
// (INSTREAM). SCAN is never used: its replies echo a path of the attacker's.
type clamd struct {
	addresses []*address
	next      atomic.Uint64 // the next session's place in addresses
	timeout   time.Duration
	maxSize   int64 // bytes that clamd looks into; 0: no limit known
	keyed     bool  // ask for the version in each session
	log       *slog.Logger
}

// New returns the Scanner for the clamd that c names. It connects to nothing. A bad or
// missing address is an error that says what to write instead.
func New(c scan.Config) (scan.Scanner, error) {
	c = c.Filled()
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

// Scan implements Scanner. It connects only when there is a file to send.
func (c *clamd) Scan(ctx context.Context, files iter.Seq[scan.File]) []scan.Answer {
	var s *session
	for f := range files {
		if s == nil {
			conn, a, err := c.dial(ctx)
			if err != nil {
				return []scan.Answer{{Err: err}}
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
	if s.heard.silent {
		s.address.silent.Store(time.Now().UnixNano())
	}
	return answers
}

// note remembers whether an address took more than a connection. A session that
// ctx ended tells nothing.
func (c *clamd) note(a *address, answers []scan.Answer) {
	switch f := answers[0].Err; {
	case f == nil:
		c.answers(a)
	case f.Kind == scan.Down:
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
func (c *clamd) dial(ctx context.Context) (net.Conn, *address, *scan.Failure) {
	start := int((c.next.Add(1) - 1) % uint64(len(c.addresses)))
	order := append(slices.Clone(c.addresses[start:]), c.addresses[:start]...)
	now := time.Now().UnixNano()
	slices.SortStableFunc(order, func(a, b *address) int {
		return a.shunned(now) - b.shunned(now)
	})
	var first *scan.Failure
	for _, a := range order {
		conn, f := c.dialOne(ctx, a)
		if f == nil {
			return conn, a, nil
		}
		// A full queue is worth waiting for, whatever the other addresses say.
		if first == nil || f.Kind == scan.Busy && first.Kind != scan.Busy {
			first = f
		}
	}
	return nil, nil, first
}

func (c *clamd) dialOne(ctx context.Context, a *address) (net.Conn, *scan.Failure) {
	d := net.Dialer{Timeout: min(dialTimeout, c.timeout)}
	conn, err := d.DialContext(ctx, a.network, a.at)
	if err == nil {
		return conn, nil
	}
	// A Unix socket whose listen queue is full says EAGAIN at once.
	if errors.Is(err, syscall.EAGAIN) {
		return nil, &scan.Failure{Kind: scan.Busy, After: fullWait, Err: fmt.Errorf("connect to clamd: %w", err)}
	}
	if ctx.Err() == nil {
		c.fails(a, err)
	}
	return nil, &scan.Failure{Kind: scan.Down, Err: fmt.Errorf("connect to clamd: %w", err)}
}

// pingAll asks every address for its version.
func (c *clamd) pingAll(ctx context.Context) (versions []string, failures []*scan.Failure) {
	versions = make([]string, len(c.addresses))
	failures = make([]*scan.Failure, len(c.addresses))
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

// Ping implements Scanner. The version names each different one that answered.
func (c *clamd) Ping(ctx context.Context) (string, error) {
	versions, failures := c.pingAll(ctx)
	var got []string
	var first *scan.Failure
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
func (c *clamd) pingOne(ctx context.Context, a *address) (string, *scan.Failure) {
	conn, f := c.dialOne(ctx, a)
	if f != nil {
		return "", f
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return "", &scan.Failure{Kind: scan.Down, Err: fmt.Errorf("ping clamd: %w", err)}
	}
	if ctx.Err() != nil {
		return "", &scan.Failure{Kind: scan.Down, Err: scan.Ended(ctx)}
	}
	_, sendErr := conn.Write([]byte("zIDSESSION\x00zPING\x00zVERSION\x00zEND\x00"))
	got, err := io.ReadAll(io.LimitReader(conn, 4*maxVersion))
	version, f := readPing(got)
	if f != nil && f.Kind == scan.Down {
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

// leadingPings is how many PINGs go ahead of a session's first file: their PONGs
// show that clamd took what we sent, and their random number keeps a stale or
// guessed reply from having the right id. One more goes before the end, to tell
// an end that we asked for from a hang-up after the last reply. In a keyed session
// the first of all and that last one are VERSIONs, whose replies show the same.
func leadingPings() int { return 1 + rand.IntN(8) }
