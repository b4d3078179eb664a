// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// knowsPeers says that the system does not tell who is at the other end of a socket. The
// command gives its orders over TCP and proves that it knows the token.
const knowsPeers = false

// trustedPeer trusts nobody: each peer needs the token.
func trustedPeer(net.Conn) bool { return false }

// errStranger says that a listener is not the service.
var errStranger = errors.New("a stranger listens there")

// knownListener knows nobody.
func knownListener(net.Conn, string) error { return errStranger }

// throughFolder calls f with path.
func throughFolder(path string, f func(path string) error) error { return f(path) }

// dialSocket connects to the socket at path.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// ownSocket returns no endpoint.
func ownSocket(string) endpoint { return endpoint{} }

// unitSocket is empty: there is none.
const unitSocket = ""

// refuses reports whether err says that nobody listens at a socket that is there.
func refuses(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
