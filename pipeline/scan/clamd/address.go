// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

const (
	shun = 10 * time.Second // an address that failed is tried last for this long
	hush = time.Minute      // an address that refused VERSION in a session is not asked for it for this long
)

// address is the address of one clamd. Times are Unix nanoseconds; 0 is never.
type address struct {
	kept        kept         // sessions
	network, at string       // for net.Dial
	failed      atomic.Int64 // when it failed, until it answers again
	tells       atomic.Bool  // it answered VERSION when it was pinged last
	silent      atomic.Int64 // when it last refused VERSION in a session
}

// String returns the address as it stands in the configuration.
func (a *address) String() string { return a.network + ":" + a.at }

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

// shunned returns 1 while the address is to be tried last, and 0 otherwise.
func (a *address) shunned(now int64) int {
	// If failed lies ahead of now, the clock was set back: it does not count.
	if failed := a.failed.Load(); failed != 0 && now >= failed && now-failed < int64(shun) {
		return 1
	}
	return 0
}

// versioned reports whether a session may ask the address for its version. A clamd that
// refuses VERSION ends the session; since 1.5 an operator can switch VERSION off.
func (a *address) versioned(now int64) bool {
	silent := a.silent.Load()
	return a.tells.Load() && (silent == 0 || now < silent || now-silent >= int64(hush))
}
