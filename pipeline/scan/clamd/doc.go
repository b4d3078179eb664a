// SPDX-License-Identifier: Apache-2.0

// Package clamd asks one or several clamd about open files, in sessions (IDSESSION).
//
// It promises: a verdict comes only from a reply that clamd's grammar knows, that is
// about this very file, and whose whole batch was sound.
//
// A session takes one batch of files after the other:
//
//	IDSESSION | PING x 1..8, files, PING | PING, files, PING | ...
//	           ^ ids count on from here                  ^ fence
//
// Invariants:
//
//  1. A batch is sound when each file has one known reply, none of them early, twice or
//     alien, when its fence was answered, and when nothing lay behind the last reply. If
//     it is not sound, no reply of it counts and the session is over. What an earlier
//     fence confirmed stands.
//  2. A file that cannot be read to its given Size is never ended as if it were whole:
//     the connection is reset instead.
//  3. A reply has at most 64 KiB, and each question has one reply. Read and Write wait
//     at most Config.Timeout for progress.
//  4. Over a Unix socket the descriptor is passed (FILDES), over tcp the bytes are sent
//     (INSTREAM). SCAN is never used: its replies repeat a path, and an attacker names
//     the path.
//  5. An Answer has a Key only when clamd told the same version ahead of the batch's
//     files and after them.
//  6. The ids of a session never repeat.
//
// Goroutines: Scan sends in the goroutine of its caller, and each session has one other
// that reads, until the session ends: at a doubt, when it was idle for five seconds, or by
// Rest. A ping has one for each address; these end before Ping and Key return. session.mu
// guards what both sides of a session know, kept.mu which sessions an address keeps; what
// else is known of an address is atomic.
//
// The files: clamd.go spreads batches and pings over addresses, kept.go keeps sessions,
// idsession.go sends and reads, transcript.go ties replies to questions, reply.go knows the
// grammar.
package clamd
