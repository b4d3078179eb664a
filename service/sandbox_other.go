// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

// hidden is for systemd.
func hidden(Settings) []error { return nil }

// forbidden is for systemd.
func forbidden(Settings) []error { return nil }

// locked is for systemd.
func locked(err error) (error, bool) { return err, false }
