// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package service

import "os"

func defaultFile() string  { return "/etc/certpush.toml" }
func defaultState() string { return "/var/lib/certpush" }

// trusted accepts: only Linux and Windows are built for service.
func trusted(*os.File) error { return nil }

// limit is one limit of the system that watching depends on.
type limit struct{ name, value string }

func limits() []limit { return nil }
