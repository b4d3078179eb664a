// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/natefinch/lumberjack.v2"
)

// openLog returns the logger that s asks for, and what closes it.
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

// writable tries what the rotating file would do at its first line, whose failure
// nobody would hear of.
func writable(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// handler writes records to w as text or JSON, the time left out where whoever
// reads w notes it himself.
func (s LogSettings) handler(w io.Writer, withTime bool) slog.Handler {
	o := &slog.HandlerOptions{Level: s.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 && !withTime {
			return slog.Attr{}
		}
		if s.JSON {
			return printableAttr(a, unprintable)
		}
		// The text handler itself quotes what is not printable, but for DEL.
		return printableAttr(a, func(r rune) bool { return r == '\x7f' })
	}}
	if s.JSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// printableAttr quotes a value that holds what must reach no terminal or page,
// which bad tells: paths, signatures and replies come from attackers, and JSON
// passes bidirectional characters raw and loses bytes that are not UTF-8.
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

// printable returns text as it is when each character can be shown, else quoted
// in ASCII.
func printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unprintable) {
		return text
	}
	return strconv.QuoteToASCII(text)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// byLevel hands each record to the handler of its level, for systems that want
// the level told outside of the text.
type byLevel struct{ debug, info, warn, err slog.Handler }

func (h byLevel) of(l slog.Level) slog.Handler {
	switch {
	case l >= slog.LevelError:
		return h.err
	case l >= slog.LevelWarn:
		return h.warn
	case l >= slog.LevelInfo:
		return h.info
	}
	return h.debug
}

// Enabled implements slog.Handler.
func (h byLevel) Enabled(ctx context.Context, l slog.Level) bool { return h.of(l).Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h byLevel) Handle(ctx context.Context, r slog.Record) error {
	return h.of(r.Level).Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h byLevel) WithAttrs(attrs []slog.Attr) slog.Handler {
	return byLevel{h.debug.WithAttrs(attrs), h.info.WithAttrs(attrs), h.warn.WithAttrs(attrs), h.err.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h byLevel) WithGroup(name string) slog.Handler {
	return byLevel{h.debug.WithGroup(name), h.info.WithGroup(name), h.warn.WithGroup(name), h.err.WithGroup(name)}
}

// writerFunc writes one record for each call: the handlers of slog do so.
type writerFunc func(line string) error

// Write implements io.Writer.
func (w writerFunc) Write(p []byte) (int, error) {
	if err := w(string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
