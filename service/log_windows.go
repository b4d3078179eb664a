// SPDX-License-Identifier: Apache-2.0

package service

import (
	"log/slog"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// eventSource is under which the installation registered our events.
const eventSource = "certpush"

// systemLog returns a handler for the Event Log when the service manager started
// us, else nil.
func (s LogSettings) systemLog() slog.Handler {
	report := eventReport()
	if report == nil {
		return nil
	}
	return s.events(report)
}

// eventReport returns what writes one event, nil where no service manager
// started us or the Event Log is not to be had. The handle is the process's own
// and ends with it.
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

// lament tells the Event Log why the process ends before its own log is open:
// under the service manager nobody reads its standard error.
func lament(err error) {
	if report := eventReport(); report != nil {
		_ = report(slog.LevelError, eventError, eventText(printable(err.Error()))) // the exit code says the rest
	}
}

// graded returns lines for standard error: nobody sorts them.
func graded(text string) string { return text }
