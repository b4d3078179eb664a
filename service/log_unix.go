// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"fmt"
	"io"
	"log/slog"
	"os"

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
	level := func(n int) slog.Handler {
		return s.handler(writerFunc(func(line string) error {
			_, err := fmt.Fprintf(w, "<%d>%s", n, line)
			return err
		}), false)
	}
	return byLevel{debug: level(7), info: level(6), warn: level(4), err: level(3)}
}

// lament does nothing: standard error is read, by the journal or at a terminal.
func lament(error) {}

// leadsTo reports whether f is the stream DEVICE:INODE: a child may have
// inherited the variable with another stderr.
func leadsTo(f *os.File, stream string) bool {
	var st unix.Stat_t
	return stream != "" && unix.Fstat(int(f.Fd()), &st) == nil && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
