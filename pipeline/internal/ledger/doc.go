// SPDX-License-Identifier: Apache-2.0

// Package ledger is the record of outcomes. A start reads back from it which lines are
// finished.
//
// It promises: an outcome is durable when Record or Sync returns, and outlasts the process
// when Write returns. ReadBack finds each line that got an outcome at or after a mark.
//
// Invariants:
//
//  1. A ledger line that cannot be read finishes nothing: its sample is pushed again.
//  2. A Mark names its segment by the first line, because segments of the ledger have
//     no number. A mark that names no segment means the whole ledger.
//  3. If a mark on disk names a segment, neither that segment nor a later one is
//     pruned.
//  4. Finished never passes over a line without an outcome, in whatever order the
//     outcomes were recorded.
//  5. Neither a bound nor want of room deletes a segment that tells of a dead letter on
//     the list.
//  6. No promise rests on the failed tries that lie beside the ledger.
//  7. End, and so each mark, lies behind durable outcomes alone.
//
// Goroutines: Run cuts and prunes. Any goroutine may call Record, Write, Sync, Tried,
// End and Before. Tend has one caller at a time. Ledger.mu guards the names of the segments
// that this process saw.
package ledger
