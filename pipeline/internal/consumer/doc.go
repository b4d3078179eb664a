// SPDX-License-Identifier: Apache-2.0

// Package consumer pushes the journal's lines to one scanner.
//
// It promises: each line that is meant for the scanner gets exactly one recorded
// outcome, and the cursor passes only lines that have theirs.
//
// The two halves are the lines and the workers. Between them is the interface intake,
// so that each half can be paired with another one: lines that go to other hosts, and
// lines that come from there.
//
//	journal --> lane --> fresh --> turns --> session --> scanner       workers
//	              ^                  ^          |
//	              |                  +-- later --+-- no verdict
//	           cursor <-- ledger <------ end ----+-- outcome           lines
//
// # The states of a push
//
//	         next               opened and hashed          verdict
//	queued --------> open ----------------------> in session ------------+
//	                  | |                          |                     |
//	                  | +-- an outcome already ----------------------->  |
//	                  |                            |                     |
//	  held   <--------+-- another program has it   |                     |
//	  parked <--------+-- the hash gives way       |                     |
//	  tried  <--------+-- it cannot be read        |                     |
//	                                               |                     v
//	  void   <-- the session did not count --------+                 recorded
//	  alone  <-- no verdict, among others ---------+                     ^
//	  tried  <-- no verdict, alone ----------------+                     |
//	  sick   <-- the scanner gives all an error ---+                     |
//	  later  <-- the scanner is busy or down ------+                     |
//	                                                                     |
//	  tried --- it counts, and it was the last try: dead ----------------+
//	  held ---- longer than settle_limit: skipped, or dead --------------+
//	  parked -- a newer line of the same path: changed ------------------+
//
// A push in one of the states at the left holds no worker. It is in the turns, and the
// next session that takes it opens it again:
//
//	queued   its line was read and not tried yet
//	open     a session opens and hashes its file
//	session  the scanner has it
//	void     its session did not count; it goes alone from now on
//	alone    it was not judged among others; it goes alone from now on
//	sick     the scanner gave an error that it gives for every file; a canary brings
//	         the scanner back, and only the same error right after that, alone, counts
//	tried    a try failed; it counts once something else proves that it was not the
//	         scanner's fault, nor the tree's
//	parked   its hash takes long and gave way to others
//	held     another program holds its file
//	recorded it has its outcome, and its line is finished
//
// testdata/push has a script for each arrow.
//
// # Invariants
//
//  1. Workers are handed durable lines only.
//  2. An outcome is durable in the ledger before the cursor passes its line. At start
//     the ledger's tail tells which lines ahead of a cursor are finished.
//  3. At most `workers` pushes are in sessions and not yet recorded, so a crash
//     repeats at most that many.
//  4. A failed try counts only when it was alone, and when the scanner has judged
//     something since, or another sample of its tree was read since. A scanner's
//     fault makes no dead letter.
//  5. A push that waits holds no worker: bad samples never stop good ones.
//  6. The bytes whose SHA-256 is recorded are the bytes that the scanner was handed.
//
// # Goroutines
//
// Consumer.Run starts, and waits for: one that follows each lane, one that saves the
// cursors, one that asks after the scanner's health, and the dispatcher. The
// dispatcher starts one for each session, and waits for all of them.
//
// A push belongs to one goroutine at a time: to its lane until it is queued, then to
// whoever took it from the turns. Only its reason may be read by others.
package consumer
