// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"net"

	"golang.org/x/sys/unix"
)

// acksAtOnce says that this system acknowledges at once what came, if it is told. clamd
// leaves Nagle on over tcp: each small reply after the first one waits until that one is
// acknowledged, which takes 40 ms otherwise. A new connection acknowledges at once by itself.
const acksAtOnce = true

// acknowledge lets the system acknowledge at once what was read. It holds until the next
// read.
func acknowledge(c net.Conn) {
	tcp, is := c.(*net.TCPConn)
	if !is {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // it only speeds up
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
}
