// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// fake is a service manager in memory.
type fake struct {
	img, acct string
	late      bool
	sid       uint32
	rec       recovery
	exits     bool
	rights    map[string]string
	sets      int
	lacks     string // the setting that this Windows does not know, or refuses
	refusal   error
}

func (f *fake) set(name string, change func()) error {
	if strings.Contains(f.lacks, name) {
		return f.refusal
	}
	f.sets++
	change()
	return nil
}

func (f *fake) get(name string) error {
	if strings.Contains(f.lacks, name) && errors.Is(f.refusal, errUnknown) {
		return f.refusal
	}
	return nil
}

func (f *fake) image() (string, error)          { return f.img, f.get("image") }
func (f *fake) setImage(s string) error         { return f.set("image", func() { f.img = s }) }
func (f *fake) account() (string, error)        { return f.acct, f.get("account") }
func (f *fake) setAccount(s string) error       { return f.set("account", func() { f.acct = s }) }
func (f *fake) delayed() (bool, error)          { return f.late, f.get("delayed") }
func (f *fake) setDelayed(b bool) error         { return f.set("delayed", func() { f.late = b }) }
func (f *fake) sidType() (uint32, error)        { return f.sid, f.get("sid") }
func (f *fake) setSIDType(n uint32) error       { return f.set("sid", func() { f.sid = n }) }
func (f *fake) recovery() (recovery, error)     { return f.rec, f.get("recovery") }
func (f *fake) setRecovery(r recovery) error    { return f.set("recovery", func() { f.rec = r }) }
func (f *fake) recoversExits() (bool, error)    { return f.exits, f.get("exits") }
func (f *fake) setRecoversExits(b bool) error   { return f.set("exits", func() { f.exits = b }) }
func (f *fake) sound(path string) (bool, error) { return f.rights[path] != "", nil }
func (f *fake) setRights(path, sddl string) error {
	if strings.Contains(f.lacks, "rights") {
		return f.refusal
	}
	f.rights[path] = sddl
	return nil
}

const exe = `C:\Program Files\certpush\certpush.exe`

func places() paths {
	return paths{exe, `C:\ProgramData\certpush`, `C:\ProgramData\certpush\certpush.toml`}
}

func fresh() *fake {
	return &fake{img: exe + ` run -c "C:\ProgramData\certpush\certpush.toml"`, acct: "LocalSystem", rights: map[string]string{}}
}

func TestConfigureSetsAllOnce(t *testing.T) {
	f := fresh()
	if err := configure(f, places(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := `"` + exe + `" run -c "C:\ProgramData\certpush\certpush.toml"`; f.img != want {
		t.Errorf("image path %s", f.img)
	}
	if f.acct != account || !f.late || f.sid != sidUnrestricted || f.rec != restarts() || !f.exits {
		t.Errorf("%+v", f)
	}
	if got := slices.Sorted(maps.Keys(f.rights)); !slices.Equal(got, []string{places().folder, places().config}) {
		t.Errorf("rights of %q", got)
	}
	f.rights[places().folder] += "(A;OICI;FR;;;S-1-5-21-1)" // an administrator lets one more user read
	was := *f
	if err := configure(f, places(), io.Discard); err != nil || f.sets != was.sets || f.img != was.img || !strings.HasSuffix(f.rights[places().folder], "S-1-5-21-1)") {
		t.Errorf("the second time: %v, %+v", err, f)
	}
}

// If Windows does not know a setting, as under Wine, that is said and is not an error. If
// it refuses one, the others are set.
func TestConfigureLeavesOutWhatIsUnknownAndReportsWhatIsRefused(t *testing.T) {
	for _, lacks := range []string{"image", "account", "delayed", "sid", "recovery", "exits"} {
		f := fresh()
		f.lacks, f.refusal = lacks, errUnknown
		var out strings.Builder
		if err := configure(f, places(), &out); err != nil || f.sets != 5 || strings.Count(out.String(), "stays as it is") != 1 {
			t.Errorf("unknown %s: %v, %d set: %s", lacks, err, f.sets, out.String())
		}
		f = fresh()
		f.lacks, f.refusal = lacks, errors.New("access denied")
		if err := configure(f, places(), io.Discard); err == nil || f.sets != 5 || !strings.Contains(err.Error(), "set ") {
			t.Errorf("refused %s: %v, %d set", lacks, err, f.sets)
		}
	}
	f := fresh()
	f.lacks, f.refusal = "rights", errors.New("access denied")
	if err := configure(f, places(), io.Discard); err == nil || f.sets != 6 {
		t.Errorf("refused rights: %v, %d set", err, f.sets)
	}
}

// An upgrade keeps the settings that an administrator changed after the installation.
func TestConfigureKeepsStartAndRecoveryThatWereChosen(t *testing.T) {
	f := fresh()
	if err := configure(f, places(), io.Discard); err != nil {
		t.Fatal(err)
	}
	f.late, f.rec, f.exits = false, recovery{}, false
	if err := configure(f, places(), io.Discard); err != nil || f.late || f.rec != (recovery{}) || f.exits {
		t.Errorf("%v, %+v", err, f)
	}
}

func TestConfigureKeepsAnAccountThatWasChosen(t *testing.T) {
	f := fresh()
	f.acct = `LAB\scanner`
	if err := configure(f, places(), io.Discard); err != nil || f.acct != `LAB\scanner` {
		t.Errorf("%s %v", f.acct, err)
	}
}

func TestImagePathIsQuoted(t *testing.T) {
	for was, want := range map[string]string{
		exe + ` run`:                  `"` + exe + `" run`,
		strings.ToUpper(exe) + ` run`: `"` + strings.ToUpper(exe) + `" run`,
		`"` + exe + `" run`:           `"` + exe + `" run`,
		`D:\other.exe run`:            `D:\other.exe run`,
		exe:                           `"` + exe + `"`,
		"":                            "",
	} {
		if got := quotedImage(was, exe); got != want {
			t.Errorf("%s becomes %s", was, got)
		}
	}
}

// TrustedInstaller is a service that every Windows has, with this SID.
func TestServiceSID(t *testing.T) {
	if got := serviceSID("TrustedInstaller"); got != "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464" {
		t.Error(got)
	}
	for _, sddl := range []string{folderRights(), configRights()} {
		if !strings.HasPrefix(sddl, "O:BAD:P") || !strings.Contains(sddl, serviceSID("certpush")) || strings.Contains(sddl, ";;;BU)") || strings.Contains(sddl, ";;;WD)") {
			t.Error(sddl)
		}
	}
}
