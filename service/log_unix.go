// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// systemLog returns a handler for journald if standard error leads there, and nil
// otherwise.
func (s LogSettings) systemLog() slog.Handler {
	if !leadsTo(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		return nil
	}
	return s.journald(os.Stderr)
}

// journald returns a handler that writes the level before each line, as in sd-daemon(3).
func (s LogSettings) journald(w io.Writer) slog.Handler {
	return s.each(func(r slog.Record, text string) error {
		priority := 7
		switch {
		case r.Level >= slog.LevelError:
			priority = 3
		case r.Level >= slog.LevelWarn:
			priority = 4
		case r.Level >= slog.LevelInfo:
			priority = 6
		}
		_, err := fmt.Fprintf(w, "<%d>%s", priority, text)
		return err
	})
}

// lament does nothing. Somebody reads standard error: journald, or a user at a terminal.
func lament(error) {}

// graded returns text for standard error. If that leads to journald, each line has the
// level of an error.
func graded(text string) string {
	if leadsTo(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		return "<3>" + strings.ReplaceAll(text, "\n", "\n<3>")
	}
	return text
}

// leadsTo reports whether f is the stream DEVICE:INODE. A process may have inherited the
// variable, but have another standard error.
func leadsTo(f *os.File, stream string) bool {
	var st unix.Stat_t
	return stream != "" && unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
