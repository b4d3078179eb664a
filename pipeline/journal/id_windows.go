// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// fileID returns a name of the file that stays the same when it is renamed.
func fileID(f *os.File) (string, error) {
	var i windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &i); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d-%d", i.VolumeSerialNumber, uint64(i.FileIndexHigh)<<32|uint64(i.FileIndexLow)), nil
}
