// SPDX-License-Identifier: Apache-2.0

// Package index is what has been journaled: each path, with its version and the place
// of its line.
//
// It promises: a file that it knows in a version has a line in the journal. It can
// be rebuilt from the journal and a sweep; that costs repeated pushes, never a lost
// one.
//
// Invariants:
//
//  1. A lane's mark and the files before it are in one batch. So the index is
//     complete up to each mark that it tells.
//  2. Marks tells the marks that are synced. Nothing may be pruned ahead of them.
//  3. A path is forgotten only for a reason that the caller names: it is not in a
//     folder that was listed to its end, its line cannot be read, or its line ended
//     without a file.
//  4. Keys are hashes with a random key, for names are an attacker's.
//
// The package starts no goroutine but those of its store. Index.mu guards the marks.
package index
