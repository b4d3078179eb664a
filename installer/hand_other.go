// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package installer

import (
	"errors"
	"io"
)

var errHand = errors.New("installing by hand is for Linux with systemd: see the README for this system")

// Install is for Linux.
func Install(io.Writer) error { return errHand }

// Uninstall is for Linux.
func Uninstall(io.Writer) error { return errHand }

// Control is for Linux.
func Control(string) error { return errHand }

// Status is for Linux.
func Status() (string, error) { return "", errHand }
