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

// clamd is a Scanner that asks one or several clamd.
type clamd struct {
	addresses []*address
	next      *atomic.Uint64 // the next session's place in addresses
	timeout   time.Duration
	maxSize   int64 // bytes; clamd does not look into a larger file; 0: no limit is known
	log       *slog.Logger
}

// New returns the Scanner for the clamd that c names. It connects to nothing. A bad or
// missing address is an error that says what to write instead.
func New(c scan.Config) (scan.Scanner, error) {
	c = c.Filled()
	if len(c.Addresses) == 0 {
		return nil, errors.New(`make scanner clamd: no address: write unix:/path or tcp:host:port`)
	}
	s := &clamd{next: new(atomic.Uint64), timeout: c.Timeout, maxSize: c.MaxSize, log: c.Log}
	for _, text := range c.Addresses {
		a, err := parseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("make scanner clamd: %w", err)
		}
		s.addresses = append(s.addresses, a)
	}
	return s, nil
}

// Addresses implements scan.Addressed.
func (c *clamd) Addresses() []string {
	var all []string
	for _, a := range c.addresses {
		all = append(all, a.String())
	}
	return all
}

// At implements scan.Addressed.
func (c *clamd) At(addresses []string) scan.Scanner {
	at := *c
	at.addresses = nil
	for _, a := range c.addresses {
		if slices.Contains(addresses, a.String()) {
			at.addresses = append(at.addresses, a)
		}
	}
	return &at
}

// Passes implements scan.Passing: one address at least gets descriptors.
func (c *clamd) Passes() bool {
	return slices.ContainsFunc(c.addresses, func(a *address) bool { return a.network == "unix" })
}

// Scan implements Scanner. It connects only when there is a file to send, and no session
// that was kept.
func (c *clamd) Scan(ctx context.Context, files iter.Seq[scan.File]) []scan.Answer {
	var s *session
	var pulled []scan.File
	for f := range files {
		if s == nil {
			var err *scan.Failure
			if s, err = c.session(ctx, true); err != nil {
				return []scan.Answer{{Err: err}}
			}
		}
		pulled = append(pulled, f)
		if !s.send(f) {
			break
		}
	}
	if s == nil {
		return nil
	}
	b := s.finish(ctx, c.maxSize)
	if b.stale {
		return c.anew(ctx, pulled)
	}
	return c.done(s.address, b)
}

// anew judges files in a session of their own: the one that was kept had ended.
func (c *clamd) anew(ctx context.Context, files []scan.File) []scan.Answer {
	s, err := c.session(ctx, false)
	if err != nil {
		return slices.Repeat([]scan.Answer{{Err: err}}, len(files))
	}
	for _, f := range files {
		if !s.send(f) {
			break
		}
	}
	answers := c.done(s.address, s.finish(ctx, c.maxSize))
	rest := scan.Answer{Address: s.address.String(), Err: scan.Failed(scan.Void, "ask clamd: its session ended before it")}
	if f := answers[len(answers)-1].Err; f != nil && (f.Kind == scan.Down || f.Kind == scan.Busy) {
		rest.Err = f
	}
	for len(answers) < len(files) {
		answers = append(answers, rest)
	}
	return answers
}

// done notes what a batch tells of its address, and returns its answers.
func (c *clamd) done(a *address, b batch) []scan.Answer {
	c.note(a, b.answers)
	for i := range b.answers {
		b.answers[i].Address = a.String()
	}
	if b.silent {
		a.silent.Store(time.Now().UnixNano())
	}
	return b.answers
}

// note remembers whether the address of a session works. A session that ctx ended says
// nothing about it: its answers are Void.
func (c *clamd) note(a *address, answers []scan.Answer) {
	switch f := answers[0].Err; {
	case f == nil:
		c.answers(a)
	case f.Kind == scan.Down:
		c.fails(a, f)
	}
}

// fails notes that the address failed now: for the time of shun it is tried last. The
// log tells of it once, until it answers again.
func (c *clamd) fails(a *address, err error) {
	if a.failed.Swap(time.Now().UnixNano()) == 0 {
		c.log.Warn("scanner address passed over", "address", a.String(), "error", err)
	}
}

// answers notes that the address answers, and logs it if it failed before.
func (c *clamd) answers(a *address) {
	if a.failed.Load() != 0 && a.failed.Swap(0) != 0 {
		c.log.Info("scanner address answers again", "address", a.String())
	}
}

// Rest implements scan.Keeping.
func (c *clamd) Rest() {
	for _, a := range c.addresses {
		a.rest()
	}
}

// session begins a batch at the next address, or if that fails at one after it. Addresses
// that failed a short while ago come last. With kept it takes a session that the address
// kept, if there is one; without, what is kept there is as old as one that had ended. If no
// address can be reached it returns the first failure, but one that is Busy before all others.
func (c *clamd) session(ctx context.Context, kept bool) (*session, *scan.Failure) {
	if len(c.addresses) == 0 { // those that it had are blind
		return nil, scan.Failed(scan.Down, "connect to clamd: no address is asked")
	}
	start := int((c.next.Add(1) - 1) % uint64(len(c.addresses)))
	order := append(slices.Clone(c.addresses[start:]), c.addresses[:start]...)
	now := time.Now().UnixNano()
	slices.SortStableFunc(order, func(a, b *address) int {
		return a.shunned(now) - b.shunned(now)
	})
	var first *scan.Failure
	for i, a := range order {
		keyed := a.versioned(now)
		for s := a.take(); s != nil; s = a.take() {
			if kept {
				s.begin(ctx, keyed)
				return s, nil
			}
			s.abort()
		}
		conn, f := c.dialOne(ctx, a)
		if f == nil {
			return openSession(ctx, conn, a, c.timeout, keyed), nil
		}
		// It is worth waiting for an address with a full queue.
		if i == 0 || f.Kind == scan.Busy && first.Kind != scan.Busy {
			first = f
		}
	}
	return nil, first
}

func (c *clamd) dialOne(ctx context.Context, a *address) (net.Conn, *scan.Failure) {
	d := net.Dialer{Timeout: min(dialTimeout, c.timeout)}
	conn, err := d.DialContext(ctx, a.network, a.at)
	if err == nil {
		return conn, nil
	}
	// A Unix socket whose listen queue is full answers EAGAIN at once.
	if errors.Is(err, syscall.EAGAIN) {
		return nil, &scan.Failure{Kind: scan.Busy, After: fullWait, Err: fmt.Errorf("connect to clamd: %w", err)}
	}
	if ctx.Err() == nil {
		c.fails(a, err)
	}
	return nil, &scan.Failure{Kind: scan.Down, Err: fmt.Errorf("connect to clamd: %w", err)}
}

// pingAll pings every address at the same time. At each index either the failure is
// set, or the version, which may be empty.
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

// Key implements Scanner. A verdict may come from any address. So the key is empty
// unless all of them answer, and with one version: an address that is down may come
// back at once, with older signatures. It is empty too if the version has no database
// number, for then it does not name the signatures.
func (c *clamd) Key(ctx context.Context) string {
	if len(c.addresses) == 0 {
		return ""
	}
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

// Ping implements Scanner. It fails only if no address answers. The version lists the
// different ones; it is empty if an address does not tell its own.
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
	if len(c.addresses) == 0 {
		return "", scan.Failed(scan.Down, "ping clamd: no address is asked")
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

const maxVersion = 256 // bytes

// pingOne opens a session at one address and asks for a PONG and for the version. The
// version is empty if clamd answers but does not tell it.
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

// leadingPings returns how many PINGs go ahead of a session's first file. Their PONGs
// show that clamd takes our commands. Their number is random, so that a stale or
// guessed reply does not have the right id. One goes ahead of each later batch. One more
// PING is the fence behind a batch: its reply tells that clamd took all before it. In a
// keyed batch the first PING and the fence are VERSIONs, whose replies show the same.
func leadingPings() int { return 1 + rand.IntN(8) }
