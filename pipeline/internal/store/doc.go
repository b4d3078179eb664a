// SPDX-License-Identifier: Apache-2.0

// Package store is the state folder and its disk: the open folders, the small files
// beside the cursors, and a Pebble whose disk may refuse.
//
// It promises: trouble of a disk neither ends the process nor is taken for an
// answer.
//
// Invariants:
//
//  1. No write of Pebble's fails. What the disk refuses is tried again until it
//     succeeds, and whoever waits for Pebble waits meanwhile.
//  2. A Pebble that is damaged is left to itself. It never ends the process.
//  3. A write that nobody waits for any more still ends before its store is closed.
//  4. What lies beside the cursors is durable when the call that wrote it returns.
//
// Goroutines: one for each write while it runs, and one for a store that is closed
// while its disk refuses. Store.writes counts the writes.
package store
