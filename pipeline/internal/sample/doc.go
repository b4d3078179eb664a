// SPDX-License-Identifier: Apache-2.0

// Package sample defines the words for a sample's way, and the lines that hold them: a
// sample and its journal line, an outcome and its ledger line, a failed try and its
// line, the place of a line, the place of lines that cannot be read, and the keys by
// which a line is found.
//
// It promises: a line is read back as it was written, whatever bytes a name holds.
//
// Invariants:
//
//  1. A line is one line of printable text. Control and bidirectional characters are
//     escaped in it.
//  2. A reader never guesses. A line that the grammar does not know is an error, and
//     finishes nothing.
//  3. A new version only adds keys, at the end of a line. A reader ignores keys that it
//     does not know.
//
// The package does no I/O, starts no goroutine and holds no state.
package sample
