// SPDX-License-Identifier: Apache-2.0

//go:build unix

package scantest

import (
	"net"
	"os"
	"syscall"
)

// Networks returns the networks by which a scanner on the same machine can be reached,
// the best first.
func Networks() []string { return []string{"unix", "tcp"} }

// clamdRuns says whether there is a clamd for this system.
const clamdRuns = true

// receive reads bytes, and the descriptors that were passed with them.
func receive(c net.Conn, buf []byte) (int, []*os.File, error) {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		n, err := c.Read(buf)
		return n, nil, err
	}
	oob := make([]byte, 4096)
	n, oobn, _, _, err := unix.ReadMsgUnix(buf, oob)
	if err != nil || oobn == 0 {
		return n, nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return n, files, err
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return n, files, nil
}

// named reports whether a file has a name.
func named(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 0
}

func pause(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
