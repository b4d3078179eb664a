// SPDX-License-Identifier: Apache-2.0

// Package cache remembers verdicts over restarts.
//
// It promises: it returns a verdict only for the same bytes, for the same scanner, and
// for the key (scan.Answer) by which it was given.
//
// Invariants:
//
//  1. Nothing rests on it. For a verdict that it lost the scanner is asked again.
//  2. It remembers only clean, suspicious and malicious. Why a scanner did not look
//     inside may depend on more than its key.
//  3. Put never waits.
//  4. Where room is short it goes before anything else of the state (Short).
//
// Goroutines: Run writes the verdicts of Put and deletes old ones. Any goroutine may
// call Get and Put.
package cache
