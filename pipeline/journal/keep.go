// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
)

const (
	keepEvery = 10 * time.Second
	keepShare = 4 // keys take at most one fourth of the time
)

// KeepKeys writes the keys of the sealed segments of bases, the newest first, and
// removes the keys of segments that were pruned, until ctx ends. It writes none if that
// could leave less than reserve bytes free. An error is logged, and it goes on. The
// caller holds the lock of the folder.
func KeepKeys(ctx context.Context, d Folder, bases []string, of KeysOf, reserve int64, log *slog.Logger) error {
	have := map[string]map[string]bool{} // by base: segments that have their keys
	for _, base := range bases {
		have[base] = map[string]bool{}
	}
	t := time.NewTimer(0)
	defer t.Stop()
	var keeping condition.Condition
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		var err error
		for _, base := range bases {
			err = errors.Join(err, keepKeys(ctx, d, base, have[base], of, reserve))
		}
		if ctx.Err() != nil {
			return nil
		}
		switch keeping.Note(err) {
		case condition.Began:
			log.Warn("keys of sealed segments cannot be kept; looking up a sample reads those segments whole: make room or mend the disk", "folder", d.Path(), "error", err)
		case condition.Ended:
			log.Info("keys of sealed segments are kept again", "folder", d.Path())
		}
		t.Reset(keepEvery)
	}
}

// keepKeys goes once over one series. It notes in have the segments that have their
// keys, and passes over those that are noted.
func keepKeys(ctx context.Context, d Folder, base string, have map[string]bool, of KeysOf, reserve int64) error {
	names, err := sealed(d, base)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	var errs []error
	for _, name := range slices.Backward(names) {
		if have[name] {
			continue
		}
		if free, err := d.Free(); err == nil && free < reserve+8*maxEntries {
			break
		}
		begin := time.Now()
		ok, err := HasKeys(d, name)
		if err == nil && !ok {
			err = SaveKeys(ctx, d, name, of)
			ok = err == nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // pruned meanwhile
			errs = append(errs, fmt.Errorf("keys of %s: %w", name, err))
		}
		have[name] = ok
		if !rest(ctx, (keepShare-1)*time.Since(begin)) {
			return ctx.Err()
		}
	}
	maps.DeleteFunc(have, func(name string, _ bool) bool {
		_, there := slices.BinarySearch(names, name)
		return !there
	})
	return errors.Join(append(errs, dropKeys(d, base))...)
}

// rest waits for span. It returns false if ctx ended before.
func rest(ctx context.Context, span time.Duration) bool {
	t := time.NewTimer(span)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// dropKeys removes the keys of segments that are not there any more. If a crash comes
// between a prune and this, the next call removes them.
func dropKeys(d Folder, base string) error {
	entries, err := d.List()
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".new") // a write that failed may have left one
		if !IsKeys(base, name) {
			continue
		}
		segment := strings.TrimSuffix(name, keysEnd) + ".log"
		if _, err := d.Lstat(segment); errors.Is(err, fs.ErrNotExist) {
			if err := d.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove keys: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}
