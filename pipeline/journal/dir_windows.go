// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"path/filepath"
)

// syncDir does nothing: NTFS journals its own names, and a folder cannot be flushed.
func syncDir(string) error { return nil }

// syncForReader makes durable what another process appended to f. Windows
// flushes only through a handle that may write.
func syncForReader(path string, _ *os.File) error {
	// By os.Root, which lets others rename the file meanwhile.
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
