// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

const (
	// account is the service's own. It has no password and few rights: an
	// administrator grants it the trees it is to read.
	account = `NT SERVICE\certpush`
	// sidUnrestricted puts the account's SID into the process's token, so that
	// rights can be given to the service alone, also where it runs as another.
	sidUnrestricted = 1
)

// errUnknown means that this Windows does not know a setting.
var errUnknown = errors.New("this Windows does not know it")

// recovery is what the service manager does when the service ends by itself: it
// waits that long before it starts it the first, the second and any further time,
// and counts from one again after reset without a failure.
type recovery struct{ first, second, further, reset time.Duration }

func (r recovery) String() string {
	return fmt.Sprintf("restart after %s, %s, then %s each time; begin again after %s without a failure", r.first, r.second, r.further, r.reset)
}

// restarts are ours: a mistake in passing costs seconds, one that stays costs a
// start a minute.
func restarts() recovery {
	return recovery{5 * time.Second, 30 * time.Second, time.Minute, 24 * time.Hour}
}

// registered is a service as the service manager keeps it, and the rights of its
// files. A setter or getter returns errUnknown for what the system lacks.
type registered interface {
	image() (string, error) // the command line that is started
	setImage(string) error
	account() (string, error)
	setAccount(string) error
	delayed() (bool, error) // is started two minutes after boot
	setDelayed(bool) error
	sidType() (uint32, error)
	setSIDType(uint32) error
	recovery() (recovery, error)
	setRecovery(recovery) error
	recoversExits() (bool, error) // recovery also after an exit with an error
	setRecoversExits(bool) error
	// sound tells if path belongs to an administrator, and inherits no rights.
	sound(path string) (bool, error)
	setRights(path, sddl string) error
}

// configure sets what a registration alone does not, each on its own, so that
// one that is refused leaves the others. Whoever runs it again changes nothing.
func configure(r registered, p paths, out io.Writer) error {
	image := func(was string) string { return quotedImage(was, p.exe) }
	// An account that an administrator chose stays.
	own := func(was string) string {
		if was == "" || strings.EqualFold(was, "LocalSystem") {
			return account
		}
		return was
	}
	errs := []error{
		adjust(out, "image path", image, r.image, r.setImage),
		// The rights come before the account that needs them.
		rights(out, r, p.folder, folderRights()),
		rights(out, r, p.config, configRights()),
		adjust(out, "account", own, r.account, r.setAccount),
	}
	// What an administrator made of these stays: a registration without our SID type
	// is a new one.
	if kind, err := r.sidType(); err != nil || kind != sidUnrestricted {
		errs = append(errs,
			adjust(out, "delayed start", always(true), r.delayed, r.setDelayed),
			adjust(out, "recovery", always(restarts()), r.recovery, r.setRecovery),
			adjust(out, "recovery after an exit with an error", always(true), r.recoversExits, r.setRecoversExits))
	}
	return errors.Join(append(errs, adjust(out, "SID type", always[uint32](sidUnrestricted), r.sidType, r.setSIDType))...)
}

// paths are what the service consists of.
type paths struct{ exe, folder, config string }

func always[T any](want T) func(T) T { return func(T) T { return want } }

// adjust sets one setting unless it is as wanted. A system that does not know it
// is no error, but is said.
func adjust[T comparable](out io.Writer, name string, wanted func(was T) T, get func() (T, error), set func(T) error) error {
	was, err := get()
	want := wanted(was)
	if err == nil && was == want {
		return nil
	}
	if err == nil || errors.Is(err, errUnknown) { // what cannot be asked may yet be told
		err = set(want)
	}
	switch {
	case errors.Is(err, errUnknown):
		fmt.Fprintf(out, "%s stays as it is: %v\n", name, err)
		return nil
	case err != nil:
		return fmt.Errorf("set %s: %w", name, err)
	}
	fmt.Fprintf(out, "%s is set: %v\n", name, want)
	return nil
}

// rights sets those of path unless they are sound already: what an administrator
// granted beyond ours stays.
func rights(out io.Writer, r registered, path, sddl string) error {
	is, err := r.sound(path)
	if err == nil && !is {
		err = r.setRights(path, sddl)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the configuration is elsewhere
	}
	if err != nil {
		return fmt.Errorf("set rights of %s: %w", path, err)
	}
	if is {
		return nil
	}
	fmt.Fprintf(out, "rights of %s are set\n", path)
	return nil
}

// quotedImage puts the program of a command line into quotes. Without them
// Windows tries C:\Program.exe first, and starts what a user left there.
func quotedImage(image, exe string) string {
	if len(image) < len(exe) || !strings.EqualFold(image[:len(exe)], exe) {
		return image
	}
	return `"` + image[:len(exe)] + `"` + image[len(exe):]
}

// folderRights are those of %ProgramData%\certpush, where Windows lets every user
// make files: the owner is the group of administrators, nothing is inherited,
// SYSTEM and administrators have all rights, and the service may change what is
// its own, but neither rights nor owner. The folder itself it may not rename or
// delete: every user could make another in its place.
func folderRights() string {
	sid := serviceSID("certpush")
	return "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;0x1201bf;;;" + sid + ")(A;OICIIO;0x1301bf;;;" + sid + ")"
}

// configRights let the service read its configuration, and not write it.
func configRights() string {
	sid := serviceSID("certpush")
	return "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;" + sid + ")"
}

// serviceSID is the SID of the account NT SERVICE\name, which Windows makes of
// the SHA-1 of the name in capitals. It holds before the service is registered.
func serviceSID(name string) string {
	var text []byte
	for _, u := range utf16.Encode([]rune(strings.ToUpper(name))) {
		text = binary.LittleEndian.AppendUint16(text, u)
	}
	sum := sha1.Sum(text)
	sid := "S-1-5-80"
	for i := 0; i < len(sum); i += 4 {
		sid += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(sum[i:])), 10)
	}
	return sid
}
