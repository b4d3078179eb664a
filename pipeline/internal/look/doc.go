// SPDX-License-Identifier: Apache-2.0

// Package look answers what became of a sample, from journal, ledger and index as they
// lie on disk: its story, the dead letters, and the proof that every file has its
// outcome.
//
// It promises: what it says is on disk. It says nothing of a file that it cannot prove.
//
// Invariants:
//
//  1. It changes nothing. What is to be journaled or recorded it hands back.
//  2. It reads through the same disk as the work does. So it answers on a disk that
//     lost power, too.
//  3. While a pipeline runs it reads beside it. While none runs it holds both locks.
//  4. Keys only make it faster: what a segment's keys do not tell is found without.
//  5. What it keeps in memory is bounded by the files in the trees and the dead
//     letters, not by the ledger.
//
// Why reads journal, ledger and tries in three goroutines and waits for them. Nothing
// else here starts one, and an Archive is for one goroutine.
package look
