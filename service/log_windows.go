// SPDX-License-Identifier: Apache-2.0

package service

import (
	"log/slog"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// eventSource is the name under which the installation registered our events.
const eventSource = "certpush"

// systemLog returns a handler for the Event Log if the service manager started us, and
// nil otherwise.
func (s LogSettings) systemLog() slog.Handler {
	report := eventReport()
	if report == nil {
		return nil
	}
	return s.events(report)
}

// eventReport returns a func that writes one event. It returns nil if no service manager
// started us, or if the Event Log cannot be opened. Its handle is open until the process
// ends.
func eventReport() func(slog.Level, uint32, string) error {
	if is, err := svc.IsWindowsService(); err != nil || !is {
		return nil
	}
	log, err := eventlog.Open(eventSource)
	if err != nil {
		return nil
	}
	return func(level slog.Level, id uint32, text string) error {
		switch {
		case level >= slog.LevelError:
			return log.Error(id, text)
		case level >= slog.LevelWarn:
			return log.Warning(id, text)
		}
		return log.Info(id, text)
	}
}

// lament writes to the Event Log why the process ends before its log is open. Under the
// service manager nobody reads standard error.
func lament(err error) {
	if report := eventReport(); report != nil {
		_ = report(slog.LevelError, eventError, eventText(printable(err.Error()))) // if it fails, the exit code is left
	}
}

// graded returns text as it is: on Windows nobody sorts standard error by level.
func graded(text string) string { return text }
