// SPDX-License-Identifier: Apache-2.0

// Package config is what a pipeline is told: trees, journal, ledger and scanners, each
// with its defaults.
//
// It promises: a zero value takes the default that stands here, and stands nowhere
// else.
//
// Invariants:
//
//  1. A default is never a doubtful choice for the safety of a sample.
//  2. Two trees, and two scanners, never have one name.
package config
