// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

// rootMayWrite forbids nothing.
func rootMayWrite(Settings) error { return nil }

// becomeOwner does nothing.
func becomeOwner(string) error { return nil }
