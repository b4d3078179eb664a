// SPDX-License-Identifier: Apache-2.0

package service

import (
	"log/slog"
	"strings"
)

// Ids of events whose message has none of its own.
const (
	eventInfo    = 1
	eventWarning = 2
	eventError   = 3
)

// events returns a handler that hands each record to the Windows Event Log with
// the id of its message, which docs/event-ids.md lists.
func (s LogSettings) events(report func(slog.Level, uint32, string) error) slog.Handler {
	return s.each(func(r slog.Record, text string) error {
		return report(r.Level, eventID(r.Message, r.Level), eventText(text))
	})
}

// eventText makes text fit for the Event Log: one event takes less than 32 Ki
// characters, and its viewer takes %1 and %%1 for places to fill in.
func eventText(text string) string {
	const most = 31_000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "%", `\x25`)
}

// eventID is the id of a message in the Windows Event Log. Alarms hang on it: an
// id is never given to another message. It is below 1000, for the texts are
// shown by the system's own EventCreate.exe.
func eventID(message string, level slog.Level) uint32 {
	switch message {
	case "admin endpoint is open":
		return 101
	case "certpush has stopped":
		return 102
	case "certpush starts":
		return 103
	case "configuration is reloaded":
		return 104
	case "idle: no [[watch]]; name a tree in the file and reload, or give -d TREE":
		return 105
	case "manager cannot be told":
		return 106
	case "a tree cannot be seen from inside the service":
		return 107
	case "admin endpoint answers, but takes no orders without a token":
		return 108
	case "admin endpoint stays closed":
		return 110
	case "admin endpoint stays closed; set another [admin] listen and reload":
		return 111
	case "certpush ends":
		return 112
	case "the new configuration is refused, the old one stays in force":
		return 113
	case "the pipeline did not stop cleanly":
		return 114
	case "the pipeline does not move; the watchdog is not fed, and the manager starts certpush anew: report this":
		return 115
	case "admin endpoint's address cannot be noted; should it change, reload by a signal":
		return 116
	case "admin endpoint takes no connection; it is tried again: look how many descriptors are open":
		return 117
	case "admin endpoint takes connections again":
		return 118
	case "admin endpoint has ended; restart certpush to open it again":
		return 119
	case "all directories are watched again":
		return 201
	case "swept":
		return 202
	case "the tree was swept after lost events":
		return 203
	case "the tree was swept after too many files waited":
		return 204
	case "tree can be watched again":
		return 205
	case "tree is there":
		return 206
	case "directories are not watched, the tree is swept each minute":
		return 207
	case "events were lost, the tree will be swept; on Linux a larger fs.inotify.max_queued_events makes it rarer":
		return 208
	case "giving watches back failed; restart the service if it happens again":
		return 209
	case "sweep did not reach everything; it is tried again within the minute":
		return 210
	case "too many files wait to settle, the tree will be swept; look what holds them open":
		return 211
	case "tree is missing, waiting for it; create or mount it":
		return 212
	case "tree cannot be watched, it is swept each minute":
		return 213
	case "auto takes an engine":
		return 214
	case "the tree's file system does not tell of all below a folder, so each folder is watched; if events stay away sweep more often":
		return 215
	case "events of the tree have ended; it is watched anew and swept; if that goes on see to its disk or server":
		return 216
	case "a store can be written again":
		return 301
	case "intake goes on; a sweep takes in what was missed":
		return 302
	case "journal can be read again":
		return 303
	case "the state is open":
		return 304
	case "a file that is none of ours lies in the state; it is left alone: move it away":
		return 305
	case "a sealed segment ends in a torn line":
		return 306
	case "a segment is missing; reading goes on at the next":
		return 307
	case "close sealed segment":
		return 308
	case "close store":
		return 309
	case "cut off a torn line; the sweep finds its file again":
		return 310
	case "folder of the state cannot be listed: look at its permissions and at the disk":
		return 311
	case "lost an event of the journal folder; it is read again":
		return 312
	case "more files that are none of ours lie in the state; they are left alone: move them away":
		return 313
	case "the cursor is ahead of its segment; the segment is read again":
		return 314
	case "the cursor is ahead of the journal; reading goes on at the oldest segment":
		return 315
	case "a file of the state cannot be read; it is left alone: let the user that certpush runs as read it, or mend the disk":
		return 316
	case "a store cannot be written; what needs it waits, pushing goes on: make room on its disk, or mend it":
		return 317
	case "a store reports an error: look at its disk":
		return 318
	case "cut refused; appending goes on, and it is tried each minute: see that nothing else holds the file and that there is room":
		return 319
	case "damage of the journal cannot be told to the producer; reading waits: make room or mend the disk":
		return 320
	case "intake stops; pushing goes on, and a sweep takes in what was missed when there is room again: free some space on the disk of the journal":
		return 321
	case "journal cannot be read; it is tried again each second: look at the folder and the disk":
		return 322
	case "journal lines are missing; their files are journaled again by a sweep: let certpush alone delete segments, and look at the disk":
		return 323
	case "segments cannot be pruned; they are kept":
		return 324
	case "take in lines appended by others":
		return 325
	case "the state cannot be opened; it is tried again every few seconds: make room on its disk, or mend it":
		return 326
	case "unreadable journal line passed over; its file is journaled again by a sweep: look at the disk":
		return 327
	case "the list of another program's segments holds lines that are none; those segments are numbered and read anew, and pushes are repeated: look at the disk":
		return 328
	case "index cannot be read; the file is journaled, perhaps again":
		return 401
	case "index cannot be read; the folder is swept again":
		return 402
	case "index cannot be synced; nothing is pruned meanwhile: look at the disk":
		return 403
	case "index cannot be written; after a restart the journal's tail is read into it: look at the disk":
		return 404
	case "index cannot be written; it is tried again at the next sweep":
		return 405
	case "index cannot forget a file that is gone; should it come back unchanged it is not pushed again: look at the disk":
		return 406
	case "index cannot forget damaged lines; it is tried again at the next sweep: look at the disk":
		return 407
	case "index cannot forget files that are gone; it is tried again at the next sweep":
		return 408
	case "index cannot forget folders that are gone; it is tried again at the next sweep":
		return 409
	case "the index is renamed aside and built anew, some samples are pushed again: look at the disk, then delete the folder":
		return 410
	case "scanner address answers again":
		return 501
	case "scanner detects again":
		return 502
	case "scanner is resumed":
		return 503
	case "scanner is up":
		return 504
	case "scanner is up again":
		return 505
	case "hash list not read":
		return 506
	case "malicious":
		return 507
	case "scanner address passed over":
		return 508
	case "scanner is not configured any more; its cursor is put aside and holds no segments back: delete the file, or rename it back before you configure the scanner again":
		return 509
	case "scanner is paused since before the start; its samples wait: `certpush resume` lets them go":
		return 510
	case "scanner is paused; its samples wait: `certpush resume` lets them go":
		return 511
	case "try failed; the sample is tried again":
		return 512
	case "dead letter: the sample is given up; see `certpush why`, then `certpush dead retry`":
		return 513
	case "scanner answers but does not detect: it called the EICAR test file clean; load its signatures, or set canary = false if it is not meant to know EICAR":
		return 514
	case "scanner calls a harmless file malicious; look at its signatures, or set canary = false":
		return 515
	case "scanner is down; pushing to it pauses, journaling goes on: start it, or correct its address, and see `certpush check`":
		return 516
	case "scanner is sick; pushing to it pauses, journaling goes on: look at its log, its disk and its memory":
		return 517
	case "samples cannot be opened for want of descriptors or memory; they wait, and no try is used up: raise LimitNOFILE, or give the machine memory":
		return 518
	case "samples can be opened again":
		return 519
	case "one sample holds a cursor back for long, and with it the journal from its line on: see who has the file, or mend what its reason names":
		return 520
	case "the sample that held a cursor back has its outcome":
		return 521
	case "cursors are saved again":
		return 601
	case "the ledger can be written again":
		return 602
	case "the cache of verdicts cannot drop what is too old; it is tried again each hour: look at its disk":
		return 603
	case "cursor cannot be read; reading begins at the oldest segment, and the ledger tells what is finished":
		return 604
	case "cursors cannot be saved; pushing goes on, a restart repeats less if you make room or mend the disk":
		return 605
	case "ledger cannot be cut or pruned; it is tried again each minute: look at the disk":
		return 606
	case "ledger segment cannot be read; lines that it tells of may be pushed again: let the user that certpush runs as read it":
		return 607
	case "the cache of verdicts is begun anew: look at the disk":
		return 608
	case "the ledger cannot be written; pushing waits and the verdicts in hand are kept in memory: make room or mend the disk":
		return 609
	case "a file that is none of ours lies where the cache of verdicts belongs; it is renamed aside: move it away":
		return 610
	case "failed tries are not on record, for their file cannot be used; all else goes on: move it away and start certpush again":
		return 611
	case "keys of sealed segments cannot be kept; looking up a sample reads those segments whole: make room or mend the disk":
		return 612
	case "keys of sealed segments are kept again":
		return 613
	}
	switch {
	case level >= slog.LevelError:
		return eventError
	case level >= slog.LevelWarn:
		return eventWarning
	}
	return eventInfo
}
