// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// trusted returns an error if we have more rights than a user, and every user may write
// the configuration. That is so in a folder that was made at the root of a drive.
func trusted(f *os.File) error {
	if is, err := svc.IsWindowsService(); err == nil && !is && !windows.GetCurrentProcessToken().IsElevated() {
		return nil
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("ask who may write %s: %w", f.Name(), err)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return fmt.Errorf("ask who may write %s: %w", f.Name(), err)
	}
	who, err := writers(dacl)
	if err != nil {
		return fmt.Errorf("ask who may write %s: %w", f.Name(), err)
	}
	if len(who) > 0 {
		return fmt.Errorf("%s can be written by %s: run icacls %[1]q /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F \"NT SERVICE\\certpush:R\"", f.Name(), strings.Join(who, ", "))
	}
	return nil
}

// changes are the rights to change a file, its rights or its owner.
const changes = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER |
	windows.GENERIC_WRITE | windows.GENERIC_ALL

// writers returns the groups that may change the object of dacl and to which every user
// of the machine belongs. A nil dacl lets everyone change it.
func writers(dacl *windows.ACL) ([]string, error) {
	if dacl == nil {
		return []string{"Everyone"}, nil
	}
	var who []string
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return nil, err
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 || ace.Mask&changes == 0 {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		for name, kind := range map[string]windows.WELL_KNOWN_SID_TYPE{
			"Everyone": windows.WinWorldSid, "Authenticated Users": windows.WinAuthenticatedUserSid,
			"Users": windows.WinBuiltinUsersSid, "INTERACTIVE": windows.WinInteractiveSid,
		} {
			if sid.IsWellKnown(kind) {
				who = append(who, name)
			}
		}
	}
	return who, nil
}
