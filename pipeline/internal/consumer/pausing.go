// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/certpush/certpush/pipeline/journal"
)

// pauseFile returns the name of the empty file that lies beside the cursors while the
// scanner is paused.
func (k *Consumer) pauseFile() string { return k.Name() + ".paused" }

// loadPause pauses the scanner if it was paused before the start.
func (k *Consumer) loadPause() error {
	_, err := k.c.Dirs.Cursors.Lstat(k.pauseFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether scanner %s is paused: %w", k.Name(), err)
	}
	k.workers.health.pause(true)
	k.c.Log.Warn("scanner is paused since before the start; its samples wait: `certpush resume` lets them go")
	return nil
}

// Pause stops pushing, pings and canaries, or lets them go on, at once. If it returns an error, this is so now
// but will not be after a restart.
func (k *Consumer) Pause(on bool) (err error) {
	dir := k.c.Dirs.Cursors
	if on {
		// A crash here: the scanner is paused after the start, or not. The caller has no
		// answer yet, so both are right.
		err = journal.SaveText(dir, k.pauseFile(), "")
	} else if err = dir.Remove(k.pauseFile()); err == nil || errors.Is(err, fs.ErrNotExist) {
		err = dir.Sync()
	}
	if changed := k.workers.health.pause(on); changed && on {
		rest(k.c.Scan) // what is under way ends its own: see restIfPaused
		k.c.Log.Warn("scanner is paused; its samples wait: `certpush resume` lets them go")
	} else if changed {
		k.c.Log.Info("scanner is resumed")
	}
	if err != nil {
		return fmt.Errorf("it is so now, but will not be after a restart: %w", err)
	}
	return nil
}
