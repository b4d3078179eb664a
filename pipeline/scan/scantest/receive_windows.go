// SPDX-License-Identifier: Apache-2.0

package scantest

import (
	"errors"
	"net"
	"os"
)

// receive reads bytes; Windows passes no descriptors.
func receive(c net.Conn, buf []byte) (int, []*os.File, error) {
	n, err := c.Read(buf)
	return n, nil, err
}

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }
