// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// fileID names a file over renames.
func fileID(f *os.File) (string, error) {
	var i windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &i); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d-%d", i.VolumeSerialNumber, uint64(i.FileIndexHigh)<<32|uint64(i.FileIndexLow)), nil
}
