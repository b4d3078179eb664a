// SPDX-License-Identifier: Apache-2.0

// Package cache remembers verdicts over restarts.
//
// It promises: a verdict is told again only for the same bytes, at the same scanner,
// by the key (scan.Answer) by which it was given.
//
// Invariants:
//
//  1. Nothing rests on it. What it loses is asked once more.
//  2. Only clean, suspicious and malicious are remembered. Why a scanner did not look
//     may depend on more than its key.
//  3. Put never waits.
//
// Goroutines: Run writes what Put brought and drops what is too old. Any goroutine may
// call Get and Put.
package cache
