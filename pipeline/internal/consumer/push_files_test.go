// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// file writes a file, with an mtime that is a second later each time, because the clock
// of the disk is coarse.
func (s *stage) file(name string, text []string) error {
	s.files++
	path, at := s.path(name), time.Unix(1800000000+int64(s.files), 0)
	if err := os.WriteFile(path, []byte(strings.Join(text, " ")), 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

// touch changes a file's rights until its ctime is another one.
func touch(path string) error {
	was, err := watch.Lstat(path)
	for is := was; err == nil && is.Ctime == was.Ctime; {
		if err = errors.Join(os.Chmod(path, 0o400), os.Chmod(path, 0o600)); err == nil {
			is, err = watch.Lstat(path)
		}
	}
	return err
}

// hand does the command line.
func (s *stage) hand(words []string) error {
	lane, queue, via, plain := journal.Live, s.in.live, "", false
	var names []string
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); {
		case word == "bare":
			plain = true
		case word == "lane=backlog":
			lane, queue = journal.Backlog, s.in.backlog
		case key == "via":
			via = value
		default:
			names = append(names, word)
		}
	}
	for _, name := range names {
		st, err := watch.Lstat(s.path(name))
		if err != nil {
			return err
		}
		s.lines++
		p := &push{line: line{sample: sample.OfFile(s.path(name), st.Size, st.Mtime), at: sample.At{Lane: lane, Pos: journal.Pos{Segment: 1, Offset: int64(s.lines)}}}}
		if p.sample.Via = via; plain {
			p.sample.ID = ""
		}
		// The same pace as that of trials.pace, but without its randomness.
		p.trial.pace = &backoff.ExponentialBackOff{InitialInterval: s.scanner.BackoffFirst, MaxInterval: s.scanner.BackoffMax, Multiplier: 2}
		p.trial.pace.Reset()
		s.in.mu.Lock()
		s.in.open = append(s.in.open, p)
		s.in.mu.Unlock()
		queue <- p
	}
	return nil
}

// open opens a file as the system does, or fails as the script says.
func (s *stage) open(in *roots, root, rel string) (*os.File, watch.Stat, error) {
	name, _ := s.name(filepath.Join(root, rel))
	s.actor.mu.Lock()
	delete(s.actor.last, name)
	s.actor.open[name] = true
	s.actor.mu.Unlock()
	s.mu.Lock()
	what, short := s.faults[name], s.short
	s.mu.Unlock()
	if short {
		what = "no descriptors"
	}
	err := map[string]error{"held": watch.ErrBusy, "unreadable": errors.New("the disk says no"), "taken": watch.ErrTaken, "no descriptors": noMemory}[what]
	if err != nil {
		s.say("open %s: %s", name, what)
		return nil, watch.Stat{}, err
	}
	return in.open(root, rel)
}

// readAt reads as the system does, or as slowly and as far as the script says.
func (s *stage) readAt(f *os.File, b []byte, off int64) (int, error) {
	name, _ := s.name(f.Name())
	s.mu.Lock()
	slow, end := s.slow[name], s.ends[name]
	s.mu.Unlock()
	if end > 0 && off >= end {
		s.say("open %s: it ends early", name)
		return 0, io.EOF
	}
	if end > 0 {
		b = b[:min(int64(len(b)), end-off)]
	}
	if slow > 0 {
		<-time.After(slow)
		b = b[:1]
	}
	return f.ReadAt(b, off)
}
