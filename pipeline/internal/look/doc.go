// SPDX-License-Identifier: Apache-2.0

// Package look answers what became of a sample, from journal, ledger and index as they
// lie on disk: its story, the dead letters, and the proof that each file has its
// outcomes.
//
// It promises: each answer is read from disk. It reports a file as accounted for only
// if it can prove that.
//
// Invariants:
//
//  1. It changes nothing. It returns the lines and outcomes that are to be written, and
//     the caller writes them.
//  2. It reads through the same disk as the work does. So it also answers on a disk
//     that lost power.
//  3. While a pipeline runs, it reads beside it. While none runs, it holds both locks.
//  4. Keys only make it faster: lines that a segment's keys do not give are found
//     without them.
//  5. Its memory grows with the files in the trees and with the dead letters, not with
//     the ledger.
//
// Why reads journal, ledger and tries in three goroutines and waits for them. Nothing
// else here starts a goroutine, and an Archive is for one goroutine.
package look
