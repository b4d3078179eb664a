// SPDX-License-Identifier: Apache-2.0

// Package clamd asks one or several clamd about open files, in sessions (IDSESSION).
//
// It promises: a verdict comes only from a reply that clamd's grammar knows, that is
// about this very file, and whose whole session was sound.
//
// Invariants:
//
//  1. A session is sound when each file has one known reply, none of them early, twice
//     or alien, when nothing comes after the last reply, and when it ends as we asked
//     for. If it is not sound, no reply of it counts.
//  2. A file that cannot be read to its given Size is never ended as if it were whole:
//     the connection is reset instead.
//  3. A reply has at most 64 KiB, and each question has one reply. Read and Write wait
//     at most Config.Timeout for progress.
//  4. Over a Unix socket the descriptor is passed (FILDES), over tcp the bytes are sent
//     (INSTREAM). SCAN is never used: its replies repeat a path, and an attacker names
//     the path.
//  5. An Answer has a Key only when clamd told the same version ahead of the session's
//     files and after them.
//
// Goroutines: Scan sends in the goroutine of its caller, and each session has one other
// that reads. A ping has one for each address. All end before Scan, Ping and Key
// return. session.mu guards what both sides of a session know; what is known of an
// address is atomic.
//
// The files: clamd.go spreads sessions and pings over addresses, idsession.go sends and
// reads, transcript.go ties replies to questions, reply.go knows the grammar.
package clamd
