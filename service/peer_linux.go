// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// trustedPeer reports whether the process at the other end of a Unix socket
// runs as root or as us.
func trustedPeer(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	trusted := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		trusted = err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
	})
	return err == nil && trusted
}
