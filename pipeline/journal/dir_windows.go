// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"path/filepath"
)

// syncDir does nothing. NTFS keeps names durable by itself, and Windows cannot flush a
// folder.
func syncDir(string) error { return nil }

// syncForReader makes the bytes durable that another process appended to the file at
// path. Windows flushes only through a handle that may write, so it opens one.
func syncForReader(path string, _ *os.File) error {
	// os.Root opens the file so that others may rename it meanwhile.
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	w, err := root.OpenFile(filepath.Base(path), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Sync()
}
