// SPDX-License-Identifier: Apache-2.0

// Package producer turns what is in the trees into journal lines: events make it fast,
// the sweep makes it true.
//
// It promises: a settled file is journaled before anything else is done with it, and
// once for each of its versions.
//
// Invariants:
//
//  1. Events are hints. The tree itself, held against the index, is the truth: every
//     doubt ends in a sweep.
//  2. A line is durable before the index knows its file. At start the journal's tail is
//     read into the index before any sweep, so nothing is journaled twice.
//  3. A sweep claims a path before it asks whether the path is settling. So either the
//     sweep sees that it settles, or the intake sees the claim: never do both journal it.
//  4. The index forgets a path only when its folder was listed to the end without
//     error, on the device that is noted.
//  5. Nothing is pruned ahead of a cursor or of the index's mark on disk.
//  6. While there is no room nothing is taken in; a sweep follows when there is.
//
// Goroutines: Producer.Run starts, and waits for: the watcher, the intake of settled
// paths, the sweeps, the care of index and disk, the forgetting of strays, and the
// cutting of the journal. Producer.mu guards what they share. Stray and Again may be
// called from any goroutine and do not wait.
package producer
