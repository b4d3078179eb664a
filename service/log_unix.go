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

// systemLog returns a handler for journald when stderr leads there, else nil.
func (s LogSettings) systemLog() slog.Handler {
	if !leadsTo(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		return nil
	}
	return s.journald(os.Stderr)
}

// journald puts the level before each line as sd-daemon(3) has it.
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

// lament does nothing: standard error is read, by the journal or at a terminal.
func lament(error) {}

// graded returns lines for standard error: the journal is to know them as errors.
func graded(text string) string {
	if leadsTo(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		return "<3>" + strings.ReplaceAll(text, "\n", "\n<3>")
	}
	return text
}

// leadsTo reports whether f is the stream DEVICE:INODE: a child may have
// inherited the variable with another stderr.
func leadsTo(f *os.File, stream string) bool {
	var st unix.Stat_t
	return stream != "" && unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
