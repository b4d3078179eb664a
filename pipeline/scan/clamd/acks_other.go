// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package clamd

import "net"

// acksAtOnce says that this system acknowledges at once what came, if it is told: see the
// twin for Linux. This one does not, so no session over tcp is kept.
const acksAtOnce = false

func acknowledge(net.Conn) {}
