// SPDX-License-Identifier: Apache-2.0

package scantest

import (
	"errors"
	"net"
	"os"
)

// Networks returns the networks by which a scanner on the same machine can be reached,
// the best first.
func Networks() []string { return []string{"tcp"} }

// clamdRuns says whether there is a clamd for this system. packaging/msi tests with a
// clamd on another one.
const clamdRuns = false

// receive reads bytes. Windows cannot pass descriptors.
func receive(c net.Conn, buf []byte) (int, []*os.File, error) {
	n, err := c.Read(buf)
	return n, nil, err
}

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }

// named is never asked: no descriptor is passed here.
func named(os.FileInfo) bool { return true }
