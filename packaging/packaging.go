// SPDX-License-Identifier: Apache-2.0

// Package packaging holds the bytes that a package carries to the target: unit,
// configuration and kernel settings.
//
// It promises that what is embedded here is what deb and rpm carry: both take
// the very same files.
//
// Invariants:
//
//  1. The unit's exposure, as systemd-analyze security counts it, is at most 2.0.
//  2. The configuration starts idle: a package that was just installed runs,
//     watches nothing and says so.
package packaging

import _ "embed" // for the files below

// Unit is the systemd unit.
//
//go:embed certpush.service
var Unit string

// Config is /etc/certpush.toml as installed.
//
//go:embed certpush.toml
var Config string

// Sysctl raises the kernel's watch limits.
//
//go:embed sysctl.conf
var Sysctl string

// Users makes the service's own user.
//
//go:embed sysusers.conf
var Users string

// WindowsConfig is %ProgramData%\certpush\certpush.toml as installed.
//
//go:embed msi/certpush.toml
var WindowsConfig string
