// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

import "net"

// trustedPeer trusts no one: the token is asked for.
func trustedPeer(net.Conn) bool { return false }
