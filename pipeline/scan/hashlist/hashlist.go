// SPDX-License-Identifier: Apache-2.0

// Package hashlist knows files by their SHA-256, from lists on disk.
//
// It promises: a file is malicious when a list names its SHA-256, and for no other
// reason. A file that no list names is Unscanned, never clean.
//
// Invariants:
//
//  1. No byte of a File is read: its hash is all that is looked at.
//  2. "Not listed" is said only while every list is loaded. If one was never read
//     without an error, a file that the others do not name is Sick.
//  3. An Answer's Key names the very lists that gave it.
//  4. A list that cannot be read again keeps what it held, and a warning says so once.
//  5. A list is bounded: see list.go.
//  6. EICAR is always known, so that the canary passes without any list.
//
// Goroutines: the package starts none. hashlist.mu guards the lists and the Key; it is
// held while files are read again.
package hashlist

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

// The EICAR test file, which every hash list knows.
const (
	eicarSum  = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
	eicarName = "EICAR-Test-File"
)

// lookEvery is the least time between two looks of Scan for lists that changed.
const lookEvery = time.Second

// hashlist is a Scanner that knows files by their SHA-256.
type hashlist struct {
	log *slog.Logger

	mu     sync.Mutex // guards all that follows, and each listFile
	files  []*listFile
	looked time.Time
	key    string // names the lists that are loaded; "" while one is missing
	bad    error  // which list is missing, and why
}

// listFile is a list on disk, and its content when it was last read without an error.
type listFile struct {
	path string
	info os.FileInfo // of the file when it was last read, with or without an error
	list *list       // nil until it was read once without an error
	err  error       // why list is not the file as it is now
	said string      // the error that was last logged, so that it is logged once
}

// New returns the Scanner for the lists that c names. It reads none of them yet.
func New(c scan.Config) scan.Scanner {
	h := &hashlist{log: c.Filled().Log}
	for _, path := range c.Lists {
		h.files = append(h.files, &listFile{path: path})
	}
	return h
}

// Ping implements Scanner. A list that is missing, or that was never read without an
// error, is Sick; the error names it.
func (h *hashlist) Ping(ctx context.Context) (string, error) {
	if ctx.Err() != nil {
		return "", &scan.Failure{Kind: scan.Down, Err: scan.Ended(ctx)}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.look()
	if h.bad != nil {
		return "", &scan.Failure{Kind: scan.Sick, Err: h.bad}
	}
	return h.key, nil
}

// Key implements Scanner. It is the version of Ping, which names the content of all
// lists.
func (h *hashlist) Key(ctx context.Context) string {
	version, err := h.Ping(ctx)
	if err != nil {
		return ""
	}
	return version
}

// Scan implements Scanner. It reads no byte of a file.
func (h *hashlist) Scan(ctx context.Context, files iter.Seq[scan.File]) []scan.Answer {
	var answers []scan.Answer
	for f := range files {
		if ctx.Err() != nil {
			return append(answers, scan.Answer{Err: &scan.Failure{Kind: scan.Void, Err: scan.Ended(ctx)}})
		}
		answers = append(answers, h.judge(f.SHA256))
	}
	return answers
}

// judge looks for sum in the lists. They cannot change meanwhile, so they are the ones
// that the Answer's Key names.
func (h *hashlist) judge(sum [sha256.Size]byte) scan.Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.looked) >= lookEvery {
		h.look()
	}
	a := h.find(sum)
	if a.Err == nil {
		a.Key = h.key
	}
	return a
}

func (h *hashlist) find(sum [sha256.Size]byte) scan.Answer {
	if known, _ := parseSum(eicarSum); sum == known {
		return scan.Answer{Verdict: scan.Malicious, Signature: eicarName}
	}
	for _, f := range h.files {
		if f.list == nil {
			continue
		}
		if name, ok := f.list.names[sum]; ok {
			return scan.Answer{Verdict: scan.Malicious, Signature: name}
		}
	}
	// "Not listed" is true only if all lists are loaded.
	for _, f := range h.files {
		if f.list == nil {
			return scan.Answer{Err: &scan.Failure{Kind: scan.Sick, Err: f.err}}
		}
	}
	return scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonNotListed}
}

// look reads the list files that changed. A list that cannot be read keeps its former
// content.
func (h *hashlist) look() {
	h.looked = time.Now()
	for _, f := range h.files {
		f.refresh()
		text := ""
		if f.err != nil {
			text = f.err.Error()
		}
		if text != "" && text != f.said {
			h.log.Warn("hash list not read", "list", f.path, "error", text, "kept", f.list != nil)
		}
		f.said = text
	}
	h.key, h.bad = h.version()
}

// version names the content of all lists, by the number of hashes and a SHA-256. The
// error is that of a list that is missing or was never read.
func (h *hashlist) version() (string, error) {
	count, all := 1, sha256.New()
	for _, f := range h.files {
		if f.list == nil || errors.Is(f.err, os.ErrNotExist) {
			return "", f.err
		}
		count += len(f.list.names)
		all.Write(f.list.digest[:])
	}
	return fmt.Sprintf("hashlist %d %x", count, all.Sum(nil)[:8]), nil
}

// refresh reads the file if it changed since it was last read. It takes size and time
// before it reads, so that the next call sees a change in between.
func (f *listFile) refresh() {
	info, err := os.Stat(f.path)
	if err != nil {
		f.info, f.err = nil, fmt.Errorf("look at list: %w", err)
		return
	}
	if f.info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime()) {
		return
	}
	if !info.Mode().IsRegular() {
		// The open of a pipe without a writer waits for ever; a device may have no end.
		f.info, f.err = nil, fmt.Errorf("read list: %s: it is no regular file: name a file", f.path)
		return
	}
	l, err := readList(f.path)
	f.info, f.err = info, err
	if err == nil {
		f.list = l
	}
}
