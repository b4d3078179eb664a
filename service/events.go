// SPDX-License-Identifier: Apache-2.0

package service

import (
	_ "embed" // the table of messages
	"log/slog"
	"strconv"
	"strings"
)

// eventRows is the one table of messages: a row for each, with its id, the level at
// which it is logged, the section of docs/event-ids.md and the message. That file
// is written from the table: go test ./service -run EventIDs -update.
//
//go:embed events.tsv
var eventRows string

// Ids of events whose message has none of its own.
const (
	eventInfo    = 1
	eventWarning = 2
	eventError   = 3
)

// events returns a handler that hands each record to the Windows Event Log with
// the id of its message, which docs/event-ids.md lists.
func (s LogSettings) events(report func(slog.Level, uint32, string) error) slog.Handler {
	ids := newEventIDs()
	return s.each(func(r slog.Record, text string) error {
		return report(r.Level, ids.of(r.Message, r.Level), eventText(text))
	})
}

// event is one row of the table.
type event struct {
	id      uint32
	level   string // "retired": no message has this id any more, and none gets it again
	section string
	message string
}

const retired = "retired"

// tabledEvents returns the rows of the table in its order. A test holds that each row can be read, so a
// row that cannot is left out.
func tabledEvents() []event {
	var all []event
	for row := range strings.Lines(eventRows) {
		f := strings.Split(strings.TrimRight(row, "\r\n"), "\t")
		if len(f) != 4 {
			continue
		}
		id, err := strconv.ParseUint(f[0], 10, 16)
		if err != nil { // the head
			continue
		}
		all = append(all, event{uint32(id), f[1], f[2], f[3]})
	}
	return all
}

// eventIDs holds the id of each message in the Windows Event Log. Alarms hang on
// it: an id is never given to another message. It is below 1000, because the
// system's own EventCreate.exe shows the texts.
type eventIDs map[string]uint32

func newEventIDs() eventIDs {
	ids := eventIDs{}
	for _, e := range tabledEvents() {
		if e.level != retired {
			ids[e.message] = e.id
		}
	}
	return ids
}

// of returns the id of a message, or the one of its level if it has none.
func (ids eventIDs) of(message string, level slog.Level) uint32 {
	if id, has := ids[message]; has {
		return id
	}
	switch {
	case level >= slog.LevelError:
		return eventError
	case level >= slog.LevelWarn:
		return eventWarning
	}
	return eventInfo
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
