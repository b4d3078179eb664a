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
// Each arrow has the names of the scripts in testdata/push that show it.
//
//	queued
//	  |
//	  |  its turn: live-first, good-ones-go-on, paused
//	  v
//	open
//	  +-- gone, changed, taken, cached ---------------------------------> recorded
//	  +-- held ---------------------------> held ---- held-too-long ----> recorded
//	  +-- parked -------------------------> parked -- parked-outdated --> recorded
//	  +-- unread -------------------------> tried --- unread -----------> recorded
//	  +-- short --------------------------> later
//	  |
//	  |  it is hashed: verdict
//	  v
//	session
//	  +-- verdict, changed, restless -----------------------------------> recorded
//	  +-- void, void-alone ---------------> void
//	  +-- alone --------------------------> alone
//	  +-- sick ---------------------------> sick
//	  +-- dead, unproven, unread, sick ---> tried --- dead -------------> recorded
//	  +-- busy, down, changed-bare, stop -> later
//
// A push in one of the states void, alone, sick, tried, held, parked and later holds no
// worker. It is in the turns, and the session that takes it next opens it again.
//
// The states:
//
//	queued   its line was read, and it was not tried yet
//	open     a session opens and hashes its file
//	session  the scanner has it
//	void     its session did not count; it goes alone from now on
//	alone    it got no verdict among others; it goes alone from now on
//	sick     the scanner gave an error that it gives for every file; a canary brings
//	         the scanner back, and only the same error right after that, alone, counts
//	tried    a try failed; it counts once something else proves that it was not the
//	         scanner's fault, nor the tree's, and after the last one the push is dead
//	parked   its hash takes long and gave way to others; a newer line of its path ends it
//	held     another program holds its file, for settle_limit at most
//	later    the scanner is busy or down, there are no descriptors, a bare path changed,
//	         or a stop gave the push back: no try is used up
//	recorded it has its outcome, and its line is finished
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
