// SPDX-License-Identifier: Apache-2.0

// Package ledger is the record of outcomes, and what a start reads back from it.
//
// It promises: an outcome is durable when Record returns. From any mark on, ReadBack
// tells each line that has an outcome since.
//
// Invariants:
//
//  1. A ledger line that cannot be read finishes nothing: its sample is pushed again.
//  2. A Mark names its segment by the first line, for the segments of the ledger have
//     no number. A mark that names none means the whole ledger.
//  3. No segment is pruned while a mark on disk names it, or names one before it.
//  4. Finished passes over no line that has no outcome, however the outcomes were
//     told.
//  5. No promise rests on the failed tries beside it.
//
// Goroutines: Run cuts and prunes. Any goroutine may call Record, Tried and End; Tend
// has one caller at a time. Ledger.mu guards what is known of the segments' heads.
package ledger
