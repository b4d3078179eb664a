// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/windows"
)

func TestWhoMayWriteAConfiguration(t *testing.T) {
	for sddl, want := range map[string][]string{
		"D:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;S-1-5-80-1-2-3-4-5)": nil,
		"D:(A;;FR;;;BU)(A;;FA;;;BA)":                                nil,
		"D:(A;OICIIO;FA;;;WD)(A;;FA;;;BA)":                          nil, // only for files that are made below it
		"D:(D;;FA;;;BU)(A;;FA;;;SY)":                                nil,
		"D:(A;;FA;;;SY)(A;;0x1301bf;;;AU)":                          {"Authenticated Users"}, // as below the root of a drive
		"D:(A;;FW;;;BU)(A;;GA;;;WD)":                                {"Users", "Everyone"},
		"D:(A;;WD;;;IU)":                                            {"INTERACTIVE"},
	} {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatalf("%s: %v", sddl, err)
		}
		dacl, _, err := sd.DACL()
		if err != nil {
			t.Fatal(err)
		}
		if who, err := writers(dacl); err != nil || !slices.Equal(who, want) {
			t.Errorf("%s: %q, %v, want %q", sddl, who, err, want)
		}
	}
	if who, err := writers(nil); err != nil || len(who) != 1 {
		t.Errorf("no list: %q, %v", who, err)
	}
}

func TestOurOwnFileIsTrusted(t *testing.T) {
	f, err := os.Create(t.TempDir() + `\certpush.toml`)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := trusted(f); err != nil {
		t.Error(err)
	}
}
