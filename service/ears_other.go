// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

import (
	"errors"
	"io"
	"os"
)

// LeaveEars is for systemd.
func LeaveEars(Flags, io.Writer) error { return errors.New("ears is for Linux alone") }

// handedEars is for systemd.
func handedEars() (map[uint64]*os.File, error) { return nil, nil }

// EarsCommand is for systemd.
func EarsCommand() string { return "" }

// unitHasEars is for systemd.
func unitHasEars() (has, installed bool) { return false, false }
