// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

// notify does nothing: it is for systemd.
func notify(...string) error { return nil }

func monotonic() string { return "" }
