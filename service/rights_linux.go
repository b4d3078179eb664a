// SPDX-License-Identifier: Apache-2.0

package service

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setRights gives up all capabilities of all threads but CAP_DAC_READ_SEARCH, which it
// makes effective.
func setRights() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	data[0].Permitted = 1 << unix.CAP_DAC_READ_SEARCH
	data[0].Effective = data[0].Permitted
	if _, _, no := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); no != 0 {
		return no
	}
	return nil
}
