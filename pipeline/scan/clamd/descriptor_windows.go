// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"errors"
	"net"
	"os"
)

// Windows has Unix sockets, but it cannot pass a descriptor (SCM_RIGHTS) over them. So
// New refuses their addresses.
const passesDescriptors = false

func passDescriptor(net.Conn, *os.File) error { return errors.ErrUnsupported }
