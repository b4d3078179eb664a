// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// mayWrite returns nil if dir is a folder, or a folder above it is there in which it can be
// made. It writes nothing, so it does not know the rights.
func mayWrite(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue
		case err != nil:
			return fmt.Errorf("%w: look what is at that path, or name another folder", err)
		case !st.IsDir():
			return fmt.Errorf("%s is no folder: look what is at that path, or name another folder", printable(at))
		}
		return nil
	}
}

// room knows of no bound.
func room(string) (all, free int64, err error) { return math.MaxInt64, math.MaxInt64, nil }

// madeUp knows of no such file system.
func madeUp(string) string { return "" }

// checkLimits knows of no limits.
func checkLimits(*report, int, int, uint64, bool) {}

// becomeService changes nothing.
func becomeService(string) string { return "" }

// hiddenByUnit knows of no unit.
func hiddenByUnit(string, string) error { return nil }
