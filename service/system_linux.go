// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io/fs"
	"os"
)

func defaultFile() string  { return "/etc/certpush.toml" }
func defaultState() string { return "/var/lib/certpush" }

// trusted returns an error if we run as root and others than root may write the
// configuration, own it or own a folder on the way to it. They would decide what root
// reads and sends.
func trusted(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	// A pipe of a shell (-c <(...)) has no name that another could have planted.
	if os.Geteuid() == 0 && (st.Mode().IsRegular() || st.Mode()&fs.ModeNamedPipe != 0) {
		if err := planter("file", f.Name()); err != nil {
			return fmt.Errorf("%w: run chown root on it, or name another file with -c", err)
		}
	}
	if os.Geteuid() == 0 && st.Mode().IsRegular() && st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than root (mode %04o): run chmod go-w %[1]s", f.Name(), st.Mode().Perm())
	}
	return nil
}
