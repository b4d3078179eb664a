// SPDX-License-Identifier: Apache-2.0

package scantest

import (
	"errors"
	"net"
	"os"
)

// Networks returns what a scanner on the same machine is reached by, the best
// first.
func Networks() []string { return []string{"tcp"} }

// clamdRuns tells if there is a clamd for this system: packaging/msi tests with
// one on another.
const clamdRuns = false

// receive reads bytes; Windows passes no descriptors.
func receive(c net.Conn, buf []byte) (int, []*os.File, error) {
	n, err := c.Read(buf)
	return n, nil, err
}

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }
