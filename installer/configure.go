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
	// account is the service's own account. It has no password and few rights. An
	// administrator lets it read the trees.
	account = `NT SERVICE\certpush`
	// sidUnrestricted puts the account's SID into the process's token. So rights can be
	// given to the service alone, even if it runs under another account.
	sidUnrestricted = 1
)

// errUnknown means that this Windows does not know a setting.
var errUnknown = errors.New("this Windows does not know it")

// recovery says how long the service manager waits before it starts a service that ended
// by itself: the first, the second and any further time. After reset without a failure
// it counts from one again.
type recovery struct{ first, second, further, reset time.Duration }

func (r recovery) String() string {
	return fmt.Sprintf("restart after %s, %s, then %s each time; begin again after %s without a failure", r.first, r.second, r.further, r.reset)
}

// restarts returns our recovery. After a failure that passes the service is back within
// seconds; with one that stays it starts once a minute.
func restarts() recovery {
	return recovery{5 * time.Second, 30 * time.Second, time.Minute, 24 * time.Hour}
}

// registered holds the settings of a service in the service manager, and the rights of
// its files. The error of a getter or setter wraps errUnknown if the system lacks that
// setting.
type registered interface {
	image() (string, error) // the command line that is started
	setImage(string) error
	account() (string, error)
	setAccount(string) error
	delayed() (bool, error) // whether it starts two minutes after boot
	setDelayed(bool) error
	sidType() (uint32, error)
	setSIDType(uint32) error
	recovery() (recovery, error)
	setRecovery(recovery) error
	recoversExits() (bool, error) // whether recovery also follows an exit with an error
	setRecoversExits(bool) error
	// sound reports whether path belongs to an administrator and inherits no rights.
	sound(path string) (bool, error)
	setRights(path, sddl string) error
}

// configure sets the settings that a registration alone does not. It sets each of them
// even if another one fails, and joins the errors. A second run changes nothing.
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
	// With our SID type the registration is not new: an administrator may have changed
	// the following settings, and they stay.
	if kind, err := r.sidType(); err != nil || kind != sidUnrestricted {
		errs = append(errs,
			adjust(out, "delayed start", always(true), r.delayed, r.setDelayed),
			adjust(out, "recovery", always(restarts()), r.recovery, r.setRecovery),
			adjust(out, "recovery after an exit with an error", always(true), r.recoversExits, r.setRecoversExits))
	}
	return errors.Join(append(errs, adjust(out, "SID type", always[uint32](sidUnrestricted), r.sidType, r.setSIDType))...)
}

// paths are the files of the service.
type paths struct{ exe, folder, config string }

// always returns a func that wants the same value, whatever it was.
func always[T any](want T) func(T) T { return func(T) T { return want } }

// adjust sets one setting, unless it is as wanted. If the system does not know the
// setting, that is not an error; adjust says so on out.
func adjust[T comparable](out io.Writer, name string, wanted func(was T) T, get func() (T, error), set func(T) error) error {
	was, err := get()
	want := wanted(was)
	if err == nil && was == want {
		return nil
	}
	if err == nil || errors.Is(err, errUnknown) { // it may be possible to set it, even if not to get it
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

// rights sets the rights of path, unless they are sound already. So rights that an
// administrator added stay.
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

// quotedImage puts the program of a command line into quotes. Without them Windows tries
// C:\Program.exe first, and a user may have put a program there.
func quotedImage(image, exe string) string {
	if len(image) < len(exe) || !strings.EqualFold(image[:len(exe)], exe) {
		return image
	}
	return `"` + image[:len(exe)] + `"` + image[len(exe):]
}

// folderRights returns the rights of %ProgramData%\certpush. Windows lets every user
// make files in %ProgramData%. So the owner is the group of administrators, and nothing
// is inherited. SYSTEM and administrators have all rights. The service may change the
// files in it, but not their rights and owner. It may not rename or delete the folder
// itself: every user could make another one in its place.
func folderRights() string {
	sid := serviceSID("certpush")
	return "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;0x1201bf;;;" + sid + ")(A;OICIIO;0x1301bf;;;" + sid + ")"
}

// configRights returns rights by which the service may read its configuration, but not
// write it.
func configRights() string {
	sid := serviceSID("certpush")
	return "O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;" + sid + ")"
}

// serviceSID returns the SID of the account NT SERVICE\name. Windows makes it from the
// SHA-1 of the name in capitals. So it is known before the service is registered.
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
