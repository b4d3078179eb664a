// SPDX-License-Identifier: Apache-2.0

// Package index knows the files that have been journaled: for each path its version and
// the place of its line.
//
// It promises: a file that it knows in a version has a line in the journal. It can be
// rebuilt from the journal and a sweep. That costs repeated pushes, never a lost one.
//
// Invariants:
//
//  1. A lane's mark and the files before it are written in one batch. So the index is
//     complete up to each mark that it returns.
//  2. Marks returns the marks that are synced. No segment may be pruned ahead of them.
//  3. A path is forgotten only for a reason that the caller names: it is not in a
//     folder that was listed to its end, its line cannot be read, or its line ended
//     without a file.
//  4. Keys are hashes with a random key, because an attacker chooses the names.
//
// The package starts no goroutine except those of its store. Any goroutine may call the
// methods of an Index. Index.mu guards the marks.
package index
