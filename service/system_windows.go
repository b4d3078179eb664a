// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"path/filepath"
)

func programData() string {
	if dir := os.Getenv("ProgramData"); dir != "" {
		return filepath.Join(dir, "certpush")
	}
	return `C:\ProgramData\certpush`
}

func defaultFile() string  { return filepath.Join(programData(), "certpush.toml") }
func defaultState() string { return programData() }

// trusted accepts: the rights of %ProgramData%\certpush are the installer's.
func trusted(*os.File) error { return nil }

// limit is one limit of the system that watching depends on.
type limit struct{ name, value string }

func limits() []limit { return nil }
