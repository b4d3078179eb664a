// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"

	"github.com/certpush/certpush/packaging"
)

const name = "certpush"

// Configure sets the settings that a registration alone does not: account, rights,
// recovery, delayed start. It says on out what it did. A second run changes nothing.
func Configure(out io.Writer) error {
	p, err := here()
	if err != nil {
		return err
	}
	m, err := mgr.Connect()
	if err != nil {
		return fmt.Errorf("reach service manager: %w", err)
	}
	defer m.Disconnect()
	s, err := m.OpenService(name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return errors.New("the service is not registered: run the MSI, or certpush service install")
	}
	if err != nil {
		return fmt.Errorf("open service: %w", err)
	}
	defer s.Close()
	if err := adopt(p.config, out); err != nil {
		return err
	}
	return configure(scm{s}, p, out)
}

// adopt renames a configuration that no administrator made, and writes ours in its
// place. Before our rights are on the folder every user may make files there, also
// before the installation.
func adopt(config string, out io.Writer) error {
	sd, err := windows.GetNamedSecurityInfo(config, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask who owns %s: %w", config, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("ask who owns %s: %w", config, err)
	}
	us, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("ask who we are: %w", err)
	}
	if ofAdministrators(owner) || owner.Equals(us.User.Sid) {
		return nil
	}
	if err := os.Rename(config, config+".untrusted"); err != nil {
		return fmt.Errorf("put %s aside, which belongs to %s and to no administrator: %w", config, owner, err)
	}
	fmt.Fprintf(out, "%s belonged to %s, who is no administrator: it is now %s.untrusted; look at it, and write your own\n", config, owner, config)
	return put(out, defaultConfig(config), 0o600)
}

// defaultConfig returns the packaged configuration with the line ends of Windows.
func defaultConfig(path string) File {
	return File{path, strings.ReplaceAll(packaging.WindowsConfig, "\n", "\r\n")}
}

// here returns the paths of the service's files.
func here() (paths, error) {
	exe, err := os.Executable()
	if err != nil {
		return paths{}, fmt.Errorf("find own program: %w", err)
	}
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return paths{}, fmt.Errorf("find %%ProgramData%%: %w", err)
	}
	folder := filepath.Join(data, name)
	return paths{exe: exe, folder: folder, config: filepath.Join(folder, "certpush.toml")}, nil
}

// scm is a service of Windows' service control manager. It makes one call for each
// setting, so that a setting that the system lacks does not affect the others.
type scm struct{ s *mgr.Service }

// known wraps errUnknown around the system's error for a setting that it lacks.
func known(err error) error {
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) || errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED) {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return err
}

// query calls ask with a buffer, and with a larger one if ask needs that. It returns the
// buffer; pointers in the answer point into it.
func query(ask func(buf *byte, size uint32, needed *uint32) error) ([]byte, error) {
	size := uint32(1024)
	for {
		// Words, so that the structures in it are aligned.
		words := make([]uint64, (size+7)/8)
		buf := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
		err := ask(&buf[0], uint32(len(buf)), &size)
		if err == nil {
			return buf, nil
		}
		if !errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) || size <= uint32(len(buf)) {
			return nil, known(err)
		}
	}
}

func (r scm) level(level uint32) ([]byte, error) {
	return query(func(buf *byte, size uint32, needed *uint32) error {
		return windows.QueryServiceConfig2(r.s.Handle, level, buf, size, needed)
	})
}

func (r scm) setLevel(level uint32, info unsafe.Pointer) error {
	return known(windows.ChangeServiceConfig2(r.s.Handle, level, (*byte)(info)))
}

// base returns the settings that every Windows has.
func (r scm) base() (image, account string, err error) {
	buf, err := query(func(buf *byte, size uint32, needed *uint32) error {
		return windows.QueryServiceConfig(r.s.Handle, (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(buf)), size, needed)
	})
	if err != nil {
		return "", "", err
	}
	c := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
	return windows.UTF16PtrToString(c.BinaryPathName), windows.UTF16PtrToString(c.ServiceStartName), nil
}

// setBase sets those of the two that are not nil.
func (r scm) setBase(image, account *string) error {
	var program, user, password *uint16
	var err error
	if image != nil {
		if program, err = windows.UTF16PtrFromString(*image); err != nil {
			return err
		}
	}
	if account != nil {
		if user, err = windows.UTF16PtrFromString(*account); err != nil {
			return err
		}
		password = new(uint16) // the password of such an account is empty
	}
	return known(windows.ChangeServiceConfig(r.s.Handle, windows.SERVICE_NO_CHANGE, windows.SERVICE_NO_CHANGE, windows.SERVICE_NO_CHANGE,
		program, nil, nil, nil, user, password, nil))
}

func (r scm) image() (string, error) {
	image, _, err := r.base()
	return image, err
}

func (r scm) setImage(image string) error { return r.setBase(&image, nil) }

func (r scm) account() (string, error) {
	_, account, err := r.base()
	return account, err
}

func (r scm) setAccount(account string) error { return r.setBase(nil, &account) }

func (r scm) delayed() (bool, error) {
	buf, err := r.level(windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO)
	if err != nil {
		return false, err
	}
	return (*windows.SERVICE_DELAYED_AUTO_START_INFO)(unsafe.Pointer(&buf[0])).IsDelayedAutoStartUp != 0, nil
}

func (r scm) setDelayed(late bool) error {
	var info windows.SERVICE_DELAYED_AUTO_START_INFO
	if late {
		info.IsDelayedAutoStartUp = 1
	}
	return r.setLevel(windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&info))
}

func (r scm) sidType() (uint32, error) {
	buf, err := r.level(windows.SERVICE_CONFIG_SERVICE_SID_INFO)
	if err != nil {
		return 0, err
	}
	return *(*uint32)(unsafe.Pointer(&buf[0])), nil
}

func (r scm) setSIDType(sid uint32) error {
	return r.setLevel(windows.SERVICE_CONFIG_SERVICE_SID_INFO, unsafe.Pointer(&sid))
}

func (r scm) recovery() (recovery, error) {
	buf, err := r.level(windows.SERVICE_CONFIG_FAILURE_ACTIONS)
	if err != nil {
		return recovery{}, err
	}
	info := (*windows.SERVICE_FAILURE_ACTIONS)(unsafe.Pointer(&buf[0]))
	if info.Actions == nil || info.ActionsCount != 3 {
		return recovery{}, nil
	}
	var waits [3]time.Duration
	for i, a := range unsafe.Slice(info.Actions, 3) {
		if a.Type != windows.SC_ACTION_RESTART {
			return recovery{}, nil
		}
		waits[i] = time.Duration(a.Delay) * time.Millisecond
	}
	return recovery{waits[0], waits[1], waits[2], time.Duration(info.ResetPeriod) * time.Second}, nil
}

func (r scm) setRecovery(c recovery) error {
	restart := func(after time.Duration) mgr.RecoveryAction {
		return mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: after}
	}
	return known(r.s.SetRecoveryActions([]mgr.RecoveryAction{restart(c.first), restart(c.second), restart(c.further)}, uint32(c.reset/time.Second)))
}

func (r scm) recoversExits() (bool, error) {
	yes, err := r.s.RecoveryActionsOnNonCrashFailures()
	return yes, known(err)
}

func (r scm) setRecoversExits(yes bool) error {
	return known(r.s.SetRecoveryActionsOnNonCrashFailures(yes))
}

func (r scm) sound(path string) (bool, error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, err
	}
	how, _, err := sd.Control()
	if err != nil || how&windows.SE_DACL_PROTECTED == 0 {
		return false, err
	}
	owner, _, err := sd.Owner()
	return err == nil && ofAdministrators(owner), err
}

// ofAdministrators reports whether owner is the group of administrators or SYSTEM.
func ofAdministrators(owner *windows.SID) bool {
	return owner != nil && (owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) || owner.IsWellKnown(windows.WinLocalSystemSid))
}

func (r scm) setRights(path, sddl string) error {
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return fmt.Errorf("parse %s: %w", sddl, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, owner, nil, dacl, nil)
}
