// SPDX-License-Identifier: Apache-2.0

// Package packaging holds files of a package: unit, configuration and kernel settings.
//
// It promises: the files that are embedded here are the ones that deb and rpm hold.
//
// Invariants:
//
//  1. The unit's exposure, as systemd-analyze security counts it, is at most 2.0.
//  2. With this configuration the service starts idle: after the installation of a
//     package it runs, watches nothing and says so.
//
// The package has no code.
package packaging

import _ "embed" // for the files below

// Unit is the systemd unit.
//
//go:embed certpush.service
var Unit string

// Config is /etc/certpush.toml as the package installs it.
//
//go:embed certpush.toml
var Config string

// Sysctl is the text for sysctl that raises the kernel's watch limits.
//
//go:embed sysctl.conf
var Sysctl string

// Users is the text for systemd-sysusers that makes the service's own user.
//
//go:embed sysusers.conf
var Users string

// WindowsConfig is %ProgramData%\certpush\certpush.toml as the MSI installs it.
//
//go:embed msi/certpush.toml
var WindowsConfig string
