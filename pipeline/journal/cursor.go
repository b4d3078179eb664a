// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"strings"
)

// LoadCursor reads a cursor file: SEGMENT:OFFSET and a newline.
func LoadCursor(d Folder, name string) (Pos, error) {
	text, err := LoadText(d, name)
	if err != nil {
		return Pos{}, fmt.Errorf("read cursor: %w", err)
	}
	return ParsePos(strings.TrimSpace(text))
}

// SaveCursor replaces a cursor file.
//
// A crash here leaves the old place or the new one. All lines before either are
// finished.
func SaveCursor(d Folder, name string, p Pos) error {
	return SaveText(d, name, p.String()+"\n")
}
