// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"errors"
	"net"
	"os"
)

// Windows has Unix sockets but no SCM_RIGHTS, so New refuses their addresses.
const passesDescriptors = false

func passDescriptor(net.Conn, *os.File) error { return errors.ErrUnsupported }
