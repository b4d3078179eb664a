// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// LoadCursor reads a cursor file: SEGMENT:OFFSET and a newline.
func LoadCursor(path string) (Pos, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Pos{}, fmt.Errorf("read cursor: %w", err)
	}
	return ParsePos(strings.TrimSpace(string(text)))
}

// SaveCursor replaces a cursor file atomically and syncs it and its folder.
//
// A crash here leaves the old place or the new one; either way all before it is
// finished.
func SaveCursor(path string, p Pos) error {
	return SaveText(path, p.String()+"\n")
}

// SaveText replaces a small file as SaveCursor does.
func SaveText(path, text string) error {
	if err := replace(path, text); err != nil {
		return fmt.Errorf("save %s: %w", filepath.Base(path), err)
	}
	return nil
}
