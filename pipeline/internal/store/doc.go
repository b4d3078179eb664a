// SPDX-License-Identifier: Apache-2.0

// Package store is the state folder and its disk: the open folders, the small files
// beside the cursors, and a Pebble whose disk may refuse.
//
// It promises: trouble of a disk does not end the process, and never counts as an
// answer.
//
// Invariants:
//
//  1. A write of Pebble never fails because the disk refuses. It is tried again until
//     it succeeds, and callers of Pebble wait meanwhile.
//  2. A Pebble that is damaged is left alone. It never ends the process.
//  3. A write that its caller no longer waits for still ends before its store is
//     closed.
//  4. Files beside the cursors are durable when the call that wrote them returns.
//
// Goroutines: one for each write while it runs, and one for a store that is closed
// while its disk refuses. Store.writes counts the writes; patient.mu guards the
// operations that are being tried again.
package store
