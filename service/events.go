// SPDX-License-Identifier: Apache-2.0

package service

import (
	_ "embed" // the table of messages
	"log/slog"
	"strconv"
	"strings"
)

// eventRows is the table of messages. Each row has the id of a message, the level at which
// it is logged, its section of docs/event-ids.md, and the message. That file is written
// from the table: go test ./service -run EventIDs -update.
//
//go:embed events.tsv
var eventRows string

// The ids of messages that are not in the table, by level.
const (
	eventInfo    = 1
	eventWarning = 2
	eventError   = 3
)

// events returns a handler that calls report for each record, with the id of its message.
// docs/event-ids.md lists the ids.
func (s LogSettings) events(report func(slog.Level, uint32, string) error) slog.Handler {
	ids := newEventIDs()
	return s.each(func(r slog.Record, text string) error {
		return report(r.Level, ids.of(r.Message, r.Level), eventText(text))
	})
}

// event is one row of the table.
type event struct {
	id      uint32
	level   string // "retired": this message is not logged any more, and no other gets its id
	section string
	message string
}

const retired = "retired"

// tabledEvents returns the rows of the table, in their order. It leaves out a row that
// cannot be read; a test checks that there is none.
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

// eventIDs has the id of each message in the Windows Event Log. Alarms depend on the ids,
// so an id is never given to another message. It is below 1000, because the system's
// EventCreate.exe, which shows the texts, knows no higher ids.
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

// of returns the id of a message, or the id of its level if the message is not in the
// table.
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

// eventText makes text fit for the Event Log: an event has less than 32 Ki characters, and
// the viewer would replace %1 and %%1.
func eventText(text string) string {
	const most = 31_000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "%", `\x25`)
}
