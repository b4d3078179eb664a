// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package watch

import (
	"errors"
	"syscall"
)

// busy tells if err says that another program holds the file.
func busy(err error) bool { return errors.Is(err, syscall.EAGAIN) }
