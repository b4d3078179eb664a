// SPDX-License-Identifier: Apache-2.0

package service

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// programData never asks the environment, which differs inside services.
func programData() string {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		dir = `C:\ProgramData` // where every Windows that we run on has it
	}
	return filepath.Join(dir, "certpush")
}

func defaultFile() string  { return filepath.Join(programData(), "certpush.toml") }
func defaultState() string { return programData() }

// limit is one limit of the system that watching depends on.
type limit struct{ name, value string }

func limits() []limit { return nil }
