// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// Open opens the index in dir. If it was left as damaged, or cannot be opened, Open
// renames it aside and begins an empty one. If something hinders that (store.Hinders), or
// this process still holds it (store.ErrHeld), Open returns that error and leaves the
// index as it is.
func Open(ctx context.Context, d store.Disk, dir string, log *slog.Logger) (*Index, error) {
	why, err := wasDamaged(d, dir)
	if err != nil {
		return nil, err
	}
	if why == nil {
		x, err := tryIndex(ctx, d, dir, log)
		if err == nil || ctx.Err() != nil || store.Hinders(err) || errors.Is(err, store.ErrHeld) {
			return x, err
		}
		why = err
	}
	return Anew(ctx, d, dir, log, why)
}

// Anew renames the index aside, logs why, and begins an empty one.
func Anew(ctx context.Context, d store.Disk, dir string, log *slog.Logger, why error) (*Index, error) {
	aside := fmt.Sprintf("%s.broken-%d", dir, time.Now().UnixNano())
	log.Error("the index is renamed aside and built anew, some samples are pushed again: look at the disk, then delete the folder", "folder", aside, "error", why)
	if err := d.Pebble.Rename(dir, aside); err != nil {
		return nil, fmt.Errorf("rename broken index aside: %w", err)
	}
	return tryIndex(ctx, d, dir, log)
}

// tryIndex opens the index, or makes an empty one if there is none.
func tryIndex(ctx context.Context, d store.Disk, dir string, log *slog.Logger) (*Index, error) {
	key, err := indexKey(d, dir)
	if err != nil {
		return nil, err
	}
	return indexWith(ctx, d, dir, key, log, false)
}

// OpenToRead opens the index only to read. The error wraps store.ErrNoState if there is
// none.
func OpenToRead(ctx context.Context, d store.Disk, dir string) (*Index, error) {
	if _, err := d.Pebble.Stat(dir); err != nil {
		return nil, fmt.Errorf("open index: %w", store.ErrNoState)
	}
	folder, err := d.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	key, err := journal.LoadText(folder, keyFile)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	return indexWith(ctx, d, dir, []byte(key), slog.New(slog.DiscardHandler), true)
}

func indexWith(ctx context.Context, d store.Disk, dir string, key []byte, log *slog.Logger, readOnly bool) (*Index, error) {
	db, err := store.Open(ctx, d, dir, log.With("store", "index"), readOnly)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	x := &Index{Store: db, keys: key, durable: map[string]journal.Pos{}, latest: map[string]journal.Pos{}}
	for _, lane := range sample.Lanes {
		text, done, err := x.DB.Get([]byte("m" + lane))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read index mark: %w", err), x.DB.Close())
		}
		p, err := journal.ParsePos(string(text))
		done.Close()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read index mark: %w", err), x.DB.Close())
		}
		x.durable[lane], x.latest[lane] = p, p
	}
	return x, nil
}

// keyFile holds the random key of the hashes, 16 bytes.
const keyFile = "certpush.key"

// indexKey reads the random key, or makes it. It makes none for an index that has
// entries, because without their key they are of no use: that is an error.
func indexKey(d store.Disk, dir string) ([]byte, error) {
	folder, err := d.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	text, err := journal.LoadText(folder, keyFile)
	if err == nil && len(text) == 16 {
		return []byte(text), folder.Sync() // the start that made the file may have crashed before its name was durable
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if entries, err := folder.List(); err != nil || slices.ContainsFunc(entries, ofStore) {
		return nil, errors.Join(errors.New("open index: its key is missing or cut short"), err)
	}
	key := make([]byte, 16)
	rand.Read(key)
	return key, journal.SaveText(folder, keyFile, string(key))
}

// ofStore reports whether e is a file of Pebble.
func ofStore(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "MANIFEST") }

// damageFile lies in an index that Pebble found damaged while it was open.
const damageFile = "certpush.damaged"

// wasDamaged returns why the index was left as damaged, or nil if it was not.
func wasDamaged(d store.Disk, dir string) (why, err error) {
	folder, err := d.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	text, err := journal.LoadText(folder, damageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return fmt.Errorf("it was left as damaged: %.200s", text), nil
}

// LeaveDamaged makes the next start build the index anew.
func LeaveDamaged(d store.Disk, dir string, why error) error {
	folder, err := d.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return journal.SaveText(folder, damageFile, why.Error())
}
