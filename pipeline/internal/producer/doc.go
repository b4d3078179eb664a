// SPDX-License-Identifier: Apache-2.0

// Package producer turns the files in the trees into journal lines. Events make it
// fast, the sweep makes it true.
//
// It promises: a settled file is journaled before anything else is done with it, and
// once for each of its versions.
//
// Invariants:
//
//  1. Events are hints. The tree itself, compared with the index, is the truth: each
//     doubt ends in a sweep.
//  2. A line is durable before the index knows its file. At start the journal's tail is
//     read into the index before any sweep, so nothing is journaled twice.
//  3. A sweep claims a path before it asks whether the path is settling. So either the
//     sweep sees that the path settles, or the intake sees the claim, and only one of
//     them journals the file.
//  4. The index forgets a path only if its folder was listed to the end without error,
//     on the device that the index has noted; or if its line strayed, ended unread, or
//     cannot be read.
//  5. No segment is pruned ahead of a cursor or of the index's mark on disk.
//  6. While there is no room the intake stops. When there is room again, a sweep
//     follows.
//
// Goroutines: Producer.Run starts the watcher, the intake of settled paths, the sweeps,
// the care of index and disk, the forgetting of strays and the cutting of the journal,
// and waits for them. Producer.mu guards the fields that they share. Any goroutine may
// call Stray and Again; they do not wait.
package producer
