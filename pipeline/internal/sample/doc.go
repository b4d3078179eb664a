// SPDX-License-Identifier: Apache-2.0

// Package sample holds the words of a sample's way, and the lines that say them:
// a sample and its journal line, an outcome and its ledger line, a failed try and
// its line, the place of a line, the place of lines that nobody can read, and the
// keys by which a line is found.
//
// It promises: what a line says is read back as it was written, whatever bytes a
// name holds.
//
// Invariants:
//
//  1. A line is one line of printable text. No control or bidirectional character
//     stands in it raw.
//  2. A reader never guesses. A line that the grammar does not know is an error,
//     and finishes nothing.
//  3. Keys are only added to a line, at its end; readers of old lines see no
//     difference.
//
// The package does no I/O, starts no goroutine and holds no state.
package sample
