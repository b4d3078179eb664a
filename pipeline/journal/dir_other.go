// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package journal

import (
	"fmt"
	"os"
)

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder to sync: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// syncForReader makes the bytes durable that another process appended to f.
func syncForReader(_ string, f *os.File) error { return f.Sync() }
