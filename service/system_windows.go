// SPDX-License-Identifier: Apache-2.0

package service

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// programData returns our folder in %ProgramData%. It does not use the environment, which
// may be another one inside a service.
func programData() string {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		dir = `C:\ProgramData` // its place on every Windows on which we run
	}
	return filepath.Join(dir, "certpush")
}

func defaultFile() string  { return filepath.Join(programData(), "certpush.toml") }
func defaultState() string { return programData() }
