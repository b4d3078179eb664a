// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package installer

import (
	"errors"
	"io"
)

// Rights is the next step for an error for want of rights.
const Rights = "run it as root"

var errHand = errors.New("there is no service manager that certpush knows on this system: start certpush run by other means")

// Install is for Linux and Windows.
func Install(io.Writer) error { return errHand }

// Uninstall is for Linux and Windows.
func Uninstall(io.Writer) error { return errHand }

// Configure is for Windows.
func Configure(io.Writer) error { return errHand }

// Control is for Linux and Windows.
func Control(string) error { return errHand }

// Status is for Linux and Windows.
func Status() (string, error) { return "", errHand }

// groupOf is for systemd.
func groupOf(string) (string, error) { return "", nil }
