// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/windows"
)

// Engines returns the names of the engines that a tree can have on this system, and only
// on other systems.
func Engines() (here, elsewhere []string) {
	return []string{"auto", "fsnotify", "windows", "sweep"}, []string{"inotify", "fanotify"}
}

// automatic is the engine that New puts in place of auto: the choice is made later.
const automatic = "auto"

// sight is how long the self-test of the engine windows waits for its event.
const sight = 2 * time.Second

// bestEngine returns the engine that auto takes, and why. It tests one in a folder that it
// makes in scratch and removes again. It never writes to a tree.
func bestEngine(ctx context.Context, scratch string) (engine, why string) {
	if err := selfTest(ctx, scratch); err != nil {
		return "fsnotify", "the self-test of engine windows: " + err.Error()
	}
	return "windows", "its self-test saw its event"
}

// selfTest returns nil if a recursive handle reports a file in a folder below it that was
// made before the handle was opened. Some systems, like Wine, report only folders that
// were made later.
func selfTest(ctx context.Context, scratch string) error {
	dir, err := scratchFolder(scratch)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	old := filepath.Join(dir, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	st, err := follow(dir)
	if err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	s, err := newRecursive(dir, st.place())
	if err != nil {
		return err
	}
	seen, ended := make(chan bool, 1), make(chan bool)
	file := filepath.Join(old, "file")
	go func() {
		defer close(ended)
		s.pump(func(e fsnotify.Event) {
			if e.Name == file {
				select {
				case seen <- true:
				default:
				}
			}
		}, func(error) {})
	}()
	if err = os.WriteFile(file, nil, 0o600); err == nil {
		select {
		case <-seen:
		case <-ended:
			err = errDeaf
		case <-ctx.Done():
			err = ctx.Err() // a stop does not wait for the event
		case <-time.After(sight):
			err = fmt.Errorf("no event came from a folder that was there before, within %v", sight)
		}
	}
	err = errors.Join(err, s.Close())
	<-ended
	return err
}

// scratchFolder makes an empty folder: a temporary one if scratch is "". In scratch it
// always has the same name, so that the next process removes one that a killed process
// left.
func scratchFolder(scratch string) (string, error) {
	if scratch == "" {
		dir, err := os.MkdirTemp("", "certpush-engine-")
		if err != nil {
			return "", fmt.Errorf("make folder: %w", err)
		}
		return dir, nil
	}
	dir := filepath.Join(scratch, "engine-test")
	if err := cmp.Or(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return dir, nil
}

// unsupported reports whether err says that the file system cannot do what the engine needs.
func unsupported(err error) bool {
	for _, e := range []error{windows.ERROR_INVALID_FUNCTION, windows.ERROR_NOT_SUPPORTED,
		windows.ERROR_CALL_NOT_IMPLEMENTED, windows.ERROR_INVALID_PARAMETER} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
