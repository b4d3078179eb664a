// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"gopkg.in/natefinch/lumberjack.v2"
)

// openLog returns the logger that s asks for, and a func that closes it.
func openLog(s LogSettings) (*slog.Logger, func() error, error) {
	if s.To != "" && s.To != "auto" {
		if err := writable(s.To); err != nil {
			return nil, nil, fmt.Errorf("open log: %w: let the user that certpush runs as write there, or set another log.to", err)
		}
		f := &lumberjack.Logger{Filename: s.To, MaxSize: 64, MaxBackups: 10, Compress: false} // MaxSize in MiB
		return slog.New(s.handler(f, true)), f.Close, nil
	}
	none := func() error { return nil }
	if h := s.systemLog(); h != nil {
		return slog.New(h), none, nil
	}
	return slog.New(s.handler(os.Stderr, true)), none, nil
}

// writable returns an error if the log file cannot be opened for writing. The rotating
// file would try that only at its first line, and nobody would see the error.
func writable(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := appendPlain(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// handler returns a handler that writes records to w as text or JSON. withTime is false
// if the reader of w adds the time itself.
func (s LogSettings) handler(w io.Writer, withTime bool) slog.Handler {
	o := &slog.HandlerOptions{Level: s.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 && !withTime {
			return slog.Attr{}
		}
		if s.JSON {
			return printableAttr(a, unprintable)
		}
		// The text handler quotes all that is not printable except DEL.
		return printableAttr(a, func(r rune) bool { return r == '\x7f' })
	}}
	if s.JSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// printableAttr quotes a value that holds a bad character or bytes that are not UTF-8.
// Attackers choose paths, signatures and replies, and these must not reach a terminal or
// a page as they are. JSON alone would not do: it passes bidirectional characters, and
// loses bytes that are not UTF-8.
func printableAttr(a slog.Attr, bad func(rune) bool) slog.Attr {
	var text string
	switch a.Value.Kind() {
	case slog.KindString:
		text = a.Value.String()
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case *slog.Source, nil, slog.Level:
			return a
		case error:
			text = v.Error()
		case fmt.Stringer:
			text = v.String()
		default:
			text = fmt.Sprintf("%+v", v)
		}
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, bad) {
		a.Value = slog.StringValue(printable(text))
	}
	return a
}

// printable returns text as it is if each character can be shown. Otherwise it returns
// it quoted in ASCII.
func printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unprintable) {
		return text
	}
	return strconv.QuoteToASCII(text)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// perRecord calls a func with each record and its text. It is for systems that want the
// level outside of the text.
type perRecord struct {
	slog.Handler // writes to sink
	sink         *recordSink
}

// recordSink holds one record's text on its way to report.
type recordSink struct {
	mu     sync.Mutex // held while one record is reported; guards text
	text   bytes.Buffer
	report func(r slog.Record, text string) error
}

// each returns a handler of s that calls report with each record and its text, which
// ends in a newline. It reports one record at a time.
func (s LogSettings) each(report func(r slog.Record, text string) error) slog.Handler {
	sink := &recordSink{report: report}
	return &perRecord{s.handler(&sink.text, false), sink}
}

// Handle implements slog.Handler.
func (h *perRecord) Handle(ctx context.Context, r slog.Record) error {
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	h.sink.text.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	return h.sink.report(r, h.sink.text.String())
}

// WithAttrs implements slog.Handler.
func (h *perRecord) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &perRecord{h.Handler.WithAttrs(attrs), h.sink}
}

// WithGroup implements slog.Handler.
func (h *perRecord) WithGroup(name string) slog.Handler {
	return &perRecord{h.Handler.WithGroup(name), h.sink}
}
