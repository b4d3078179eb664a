// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestACrowdAtTheDoorKeepsNobodyOut: many clients connect that send nothing, or half of a
// request. Only mostGuests of them are held. A client that comes after them is answered,
// and an order that takes long is carried out meanwhile.
func TestACrowdAtTheDoorKeepsNobodyOut(t *testing.T) {
	orders := 0
	a := testAdmin(&orders)
	begun, release := make(chan struct{}), make(chan struct{})
	a.sweep = func(string) error {
		close(begun)
		<-release
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l) }()

	ordered := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String()+"/api/v1/sweep", nil)
		if err != nil {
			ordered <- err
			return
		}
		r.Header.Set("Authorization", "Bearer "+testToken)
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err == nil {
			err = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				err = fmt.Errorf("order answered with %s", answer.Status)
			}
		}
		ordered <- err
	}()
	<-begun
	var silent []net.Conn
	for i := range 4 * mostGuests {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			// An error is fine: the connection may have been evicted.
			_, _ = c.Write([]byte("POST /api/v1/sweep HTTP/1.1\r\nHost: 127.0.0.1\r\n"))
		}
		silent = append(silent, c)
	}
	answer, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
	// The client came after all of them, so the first ones were closed by then.
	a.crowd.mu.Lock()
	if n := len(a.crowd.guests); n > mostGuests {
		t.Errorf("%d are held", n)
	}
	a.crowd.mu.Unlock()
	for _, c := range silent[:len(silent)-mostGuests] {
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("one of %d is held: %v", len(silent), err)
		}
	}
	close(release)
	if err := <-ordered; err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAStormPushesNoOrderOut: others connect as fast as they can while orders are given.
// Each order is carried out.
func TestAStormPushesNoOrderOut(t *testing.T) {
	var orders int
	a := testAdmin(&orders)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l) }()
	var storm sync.WaitGroup
	raging, calm := context.WithCancel(ctx)
	for range 8 {
		storm.Go(func() {
			var held []net.Conn
			for raging.Err() == nil && len(held) < 400 {
				var d net.Dialer
				if c, err := d.DialContext(raging, "tcp", l.Addr().String()); err == nil {
					held = append(held, c)
				}
			}
			<-raging.Done()
			for _, c := range held {
				c.Close()
			}
		})
	}
	for range 15 {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String()+"/api/v1/sweep", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+testToken)
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Error(answer.Status)
		}
	}
	calm()
	storm.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if orders != 15 {
		t.Errorf("%d orders were carried out", orders)
	}
}

// TestOrdersAreNoGuests: they have places of their own, and no more than these.
func TestOrdersAreNoGuests(t *testing.T) {
	c := &crowd{}
	var conns []net.Conn
	enter := func(trusted bool) *guest {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		conns = append(conns, ours)
		return c.enter(ours, trusted)
	}
	for range mostOrders - 1 {
		enter(true)
	}
	order, late := enter(false), enter(false)
	if !c.keep(order) || c.keep(late) {
		t.Error("the places for orders are not counted")
	}
	c.release(order)
	if !c.keep(late) || len(c.guests) != 1 {
		t.Errorf("the place of an order that is done is not free: %d guests", len(c.guests))
	}
	for _, conn := range conns {
		c.leave(conn)
	}
	c.release(late)
	if c.kept != 0 || len(c.guests)+len(c.all) != 0 {
		t.Errorf("%d kept, %d guests, %d in all", c.kept, len(c.guests), len(c.all))
	}
}

// failing is a listener whose next Accepts fail.
type failing struct {
	net.Listener
	times atomic.Int32
}

func (f *failing) Accept() (net.Conn, error) {
	if f.times.Add(-1) >= 0 {
		return nil, errors.New("accept: too many open files")
	}
	return f.Listener.Accept()
}

// TestAFailureToTakeAConnectionEndsNoDoor: one failure of Accept is not logged. If there
// are more, their begin and their end are logged. The next client is answered.
func TestAFailureToTakeAConnectionEndsNoDoor(t *testing.T) {
	for times, want := range map[int32]string{0: "", 1: "", 4: "level=ERROR msg=\"admin endpoint takes no connection; it is tried again: look how many descriptors are open\" " +
		"error=\"accept: too many open files\"\nlevel=INFO msg=\"admin endpoint takes connections again\"\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f := &failing{Listener: l}
		f.times.Store(times)
		var log bytes.Buffer
		a := testAdmin(new(int))
		a.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
			if at.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return at
		}}))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.serve(ctx, f) }()
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + l.Addr().String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := log.String(); got != want {
			t.Errorf("after %d failures:\n%s", times, got)
		}
	}
}
