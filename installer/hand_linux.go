// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/packaging"
)

// Rights is the next step for an error for want of rights.
const Rights = "run it as root"

const (
	configPath = "/etc/certpush.toml"
	usersPath  = "/etc/sysusers.d/certpush.conf"
	limitsPath = "/etc/sysctl.d/00-certpush.conf"
	handUnit   = "/etc/systemd/system/certpush.service"
	ours       = "Description=certpush: push dropped files to scanners" // is in our unit
)

// packagedUnits are the paths at which a package puts the unit.
var packagedUnits = []string{"/usr/lib/systemd/system/certpush.service", "/lib/systemd/system/certpush.service"}

// packaged returns an error if a package installed certpush: our unit would shadow the
// package's.
func packaged() error {
	for _, path := range packagedUnits {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("a package installed certpush, %s is its unit: use systemctl to start and stop it, and apt or dnf to remove it", path)
		}
	}
	return nil
}

// unit returns the packaged unit for the program at exe.
func unit(exe string) string {
	return strings.ReplaceAll(packaging.Unit, "/usr/bin/certpush", exe)
}

// manager returns systemd, by kardianos/service, with our own unit.
func manager() (kardianos.Service, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, errors.New("systemd does not run here: start certpush run by other means")
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	if strings.ContainsAny(exe, " \t\n\"'\\%$") {
		return nil, fmt.Errorf("%q cannot stand in a unit: put the program at /usr/local/bin/certpush", exe)
	}
	return kardianos.New(nil, &kardianos.Config{Name: "certpush", Option: kardianos.KeyValue{"SystemdScript": unit(exe)}})
}

// Install makes the user, raises limits, writes the configuration if there is none, and
// registers the hardened unit. It refuses if a package installed certpush. It starts
// nothing.
func Install(out io.Writer) error {
	if err := packaged(); err != nil {
		return err
	}
	m, err := manager()
	if err != nil {
		return err
	}
	for _, f := range []File{{usersPath, packaging.Users}, {limitsPath, packaging.Sysctl}} {
		if err := put(out, f, 0o644); err != nil {
			return err
		}
	}
	if text, err := exec.Command("systemd-sysusers", usersPath).CombinedOutput(); err != nil {
		return fmt.Errorf("make user certpush: %w: %s", err, strings.TrimSpace(string(text)))
	}
	if err := put(out, File{configPath, packaging.Config}, 0o640); err != nil {
		return err
	}
	if err := forGroup(configPath); err != nil {
		return err
	}
	raise(out, packaging.Sysctl)
	if err := m.Install(); err != nil {
		return fmt.Errorf("register with systemd: %w", err)
	}
	fmt.Fprintln(out, "installed "+handUnit+": edit /etc/certpush.toml, then certpush service start")
	return nil
}

// forGroup lets the service's group read the configuration.
func forGroup(path string) error {
	g, err := user.LookupGroup("certpush")
	if err != nil {
		return fmt.Errorf("find group certpush: %w", err)
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("find group certpush: %w", err)
	}
	if err := os.Chown(path, 0, id); err != nil {
		return fmt.Errorf("let certpush read its configuration: %w", err)
	}
	return nil
}

// raise sets each kernel limit in text that is lower now. If the kernel refuses, as in a
// container, it says so on out.
func raise(out io.Writer, text string) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		now, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		have, err1 := strconv.Atoi(strings.TrimSpace(string(now)))
		want, err2 := strconv.Atoi(value)
		if err1 != nil || err2 != nil || have >= want {
			continue
		}
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			fmt.Fprintf(out, "%s stays %d: %v\n", key, have, err)
		}
	}
}

// Uninstall removes the unit. Configuration, state and user stay. If a package was
// installed later, its unit is in force then.
func Uninstall(out io.Writer) error {
	if err := packaged(); err != nil {
		text, no := os.ReadFile(handUnit)
		if no != nil || !strings.Contains(string(text), ours) {
			return err
		}
		return unshadow(out)
	}
	m, err := manager()
	if err != nil {
		return err
	}
	if err := m.Stop(); err != nil {
		fmt.Fprintf(out, "it could not be stopped: %v\n", err)
	}
	if err := m.Uninstall(); err != nil {
		return fmt.Errorf("take it from systemd: %w", err)
	}
	if err := remove(usersPath, limitsPath); err != nil {
		return err
	}
	fmt.Fprintln(out, "uninstalled; /etc/certpush.toml and /var/lib/certpush are kept")
	return nil
}

// unshadow removes our unit, so that the package's is in force.
func unshadow(out io.Writer) error {
	enabled := exec.Command("systemctl", "--quiet", "is-enabled", "certpush").Run() == nil
	if err := remove(handUnit, usersPath, limitsPath); err != nil {
		return err
	}
	do := [][]string{{"daemon-reload"}, {"try-restart", "certpush"}}
	if enabled {
		do = append(do, []string{"reenable", "certpush"})
	}
	for _, args := range do {
		if text, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("systemctl %s: %w: %s", args[0], err, strings.TrimSpace(string(text)))
		}
	}
	fmt.Fprintln(out, "uninstalled; the package's unit is in force. The program that was put there by hand stays: remove it")
	return nil
}

func remove(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return nil
}

// Control starts, stops or restarts the service, also if a package installed it.
func Control(action string) error {
	m, err := manager()
	if err != nil {
		return err
	}
	return kardianos.Control(m, action)
}

// Status returns whether the service runs: running, stopped or not installed.
func Status() (string, error) {
	m, err := manager()
	if err != nil {
		return "", err
	}
	s, err := m.Status()
	switch {
	case errors.Is(err, kardianos.ErrNotInstalled):
		return Absent, nil
	case err != nil:
		return "", fmt.Errorf("ask systemd: %w", err)
	case s == kardianos.StatusRunning:
		return Running, nil
	}
	return Stopped, nil
}

// Configure is for Windows.
func Configure(io.Writer) error {
	return errors.New("on Linux the unit says it all: see systemctl cat certpush")
}

// groupOf returns the group that may connect to a socket, or "" if everybody may, or
// only its owner.
func groupOf(socket string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(socket, &st); err != nil {
		return "", err
	}
	if st.Mode&0o022 != 0o020 { // connecting needs the right to write
		return "", nil
	}
	g, err := user.LookupGroupId(strconv.Itoa(int(st.Gid)))
	if err != nil {
		return strconv.Itoa(int(st.Gid)), nil // systemd takes the number too
	}
	return g.Name, nil
}
