// SPDX-License-Identifier: Apache-2.0

//go:build unix

package clamd

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

const passesDescriptors = true

// passDescriptor sends one FILDES with the descriptor of f. The descriptor goes in the
// same message as the command and the one byte that clamd expects to carry it. Control
// keeps f open meanwhile; unlike Fd, it leaves the mode of f alone. A *readError means
// that f is not usable; nothing was sent.
func passDescriptor(conn net.Conn, f *os.File) error {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("pass descriptor: not a unix socket: %s", conn.RemoteAddr().Network())
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return &readError{err}
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		_, _, sendErr = unix.WriteMsgUnix([]byte("zFILDES\x00x"), syscall.UnixRights(int(fd)), nil)
	})
	if err != nil {
		return &readError{err}
	}
	if sendErr != nil {
		return fmt.Errorf("pass descriptor: %w", sendErr)
	}
	return nil
}
