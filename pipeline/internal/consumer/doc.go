// SPDX-License-Identifier: Apache-2.0

// Package consumer pushes the journal's lines to one scanner.
//
// It promises: each line that is meant for the scanner gets exactly one recorded
// outcome, and the cursor passes only lines that have theirs.
//
// The two halves are the lines and the workers. Between them is the interface intake,
// so that each half can be paired with another one: lines whose workers are on other
// hosts, and workers whose lines come from other hosts.
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
//	  |  its turn: live-first, good-ones-go-on, paused, blind-later
//	  v
//	open
//	  +-- gone, changed, taken, cached, touched ------------------------> recorded
//	  +-- held ---------------------------> held ---- held-too-long ----> recorded
//	  +-- parked -------------------------> parked -- parked-outdated --> recorded
//	  +-- unread -------------------------> tried --- unread -----------> recorded
//	  +-- short --------------------------> later
//	  |
//	  |  it is hashed: verdict
//	  v
//	session
//	  +-- verdict, changed, restless, gone-judged-unix -----------------> recorded
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
//	void     its session was void: no answer in it counts; it goes alone from now on
//	alone    it failed in a session with others; it goes alone from now on
//	sick     the scanner gave an error that it gives for every file; a good canary
//	         brings the scanner back; only the same error right after that, alone,
//	         counts
//	tried    a try failed; it counts once there is a proof that neither the scanner nor
//	         the tree caused it; after the last try the push is dead
//	parked   its hash takes long and gave way to others; a newer line of its path ends it
//	held     another program holds its file; it waits, for settle_limit at most
//	later    the scanner is busy or down, there are no descriptors, a bare path changed,
//	         a canary that its verdict needs was not asked yet, its address turned blind,
//	         or a stop gave the push back: no try is used up
//	recorded it has its outcome, and its line is finished
//
// # Invariants
//
//  1. Workers get durable lines only.
//  2. An outcome is durable in the ledger before the cursor passes its line. At start
//     the ledger's tail tells which lines ahead of a cursor are finished.
//  3. At most `workers` pushes (64, if it finds the number itself) are in sessions and
//     have no outcome in the ledger, so the end of the process repeats at most that many.
//     An outcome is durable Config.Sync after it was written, at the latest, or with 1,024
//     others (unsynced). Only then its line is finished and its outcome told: a power cut
//     repeats those between. An outcome in the ledger is told at least once: what a crash
//     may have left untold, the next start tells again (telling).
//  4. A failed try counts only with a proof. If the scanner gave no verdict, the sample
//     was alone, and the scanner has judged something since. If the file could not be
//     read, another sample of its tree was read since, or the file itself is the cause.
//     So neither a scanner that fails nor a tree that cannot be read makes dead letters
//     (except when turns.crowded: then a file that could not be read needs no proof).
//  5. A push that waits holds no worker: bad samples never stop good ones. Trees, and
//     the folders directly below them, take turns; lines of one path give way to the
//     newest.
//     However deep a flood of one tree is, the lines of others behind it are read (floods).
//  6. The bytes whose SHA-256 is recorded are the bytes that the scanner got.
//  7. Clean is recorded only of what the address was shown to see (sights). What an
//     address called clean since a canary was good there is pushed again when that
//     canary is answered wrongly (retraction).
//
// # Goroutines
//
// Consumer.Run starts these and waits for them: one for each lane, which hands out its
// lines; one that saves the cursors; one that makes outcomes durable; one that takes back what a crash left; one that
// pings the scanner; one for each address, which asks its canaries; one that watches
// which push holds a cursor back; and the dispatcher. The dispatcher starts one for each
// session, and waits for all of them.
//
// A push belongs to one goroutine at a time: to the one of its lane until it is queued,
// then to the one that took it from the turns. While it waits in the turns, turns.mu
// guards it. Any goroutine may read its line, which never changes, and its reason.
package consumer
