// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

import "net"

// trustedPeer trusts nobody: each peer needs the token.
func trustedPeer(net.Conn) bool { return false }
