// SPDX-License-Identifier: Apache-2.0

// Package config is the configuration of a pipeline: trees, journal, ledger and
// scanners, each with its defaults.
//
// It promises: a zero value takes the default that this package gives, and no other
// place gives one.
//
// Invariants:
//
//  1. No default puts a sample at risk.
//  2. Two trees never have the same name, and neither do two scanners.
//
// The package starts no goroutine and holds no state.
package config
