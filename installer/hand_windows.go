// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// Rights is the next step for an error for want of rights.
const Rights = "run it in a console that was started as administrator"

// packagedKey is the registry key that the MSI writes.
const packagedKey = `SOFTWARE\certpush`

// packaged returns an error if the MSI installed certpush.
func packaged() error {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, packagedKey, registry.QUERY_VALUE)
	if err != nil {
		return nil //nolint:nilerr // without the key the MSI did not install it
	}
	k.Close()
	return errors.New("the MSI installed certpush: remove it in Settings, Apps, or by msiexec /x")
}

// manager returns the service manager, by kardianos/service, to register the service.
func manager(p paths) (kardianos.Service, error) {
	return kardianos.New(nil, &kardianos.Config{
		Name: name, DisplayName: name, Description: "Pushes each file dropped in a watched tree to the scanners.",
		Executable: p.exe, Arguments: []string{"run", "-c", p.config},
	})
}

// Install writes the configuration if there is none, and registers the service with its
// account and its rights. It refuses if the MSI installed certpush. It starts nothing.
func Install(out io.Writer) error {
	if err := packaged(); err != nil {
		return err
	}
	p, err := here()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	// Every user may make files in a new folder, so set its rights before we trust
	// anything in it.
	if err := (scm{}).setRights(p.folder, folderRights()); err != nil {
		return fmt.Errorf("set rights of %s: %w", p.folder, err)
	}
	if err := put(out, defaultConfig(p.config), 0o600); err != nil {
		return err
	}
	m, err := manager(p)
	if err != nil {
		return fmt.Errorf("reach service manager: %w", err)
	}
	if err := m.Install(); err != nil {
		return fmt.Errorf("register service: %w", err)
	}
	if err := Configure(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "installed the service %s: edit %s, then certpush service start\n", name, p.config)
	return nil
}

// Uninstall stops the service and removes it. Configuration and state stay.
func Uninstall(out io.Writer) error {
	if err := packaged(); err != nil {
		return err
	}
	p, err := here()
	if err != nil {
		return err
	}
	m, err := manager(p)
	if err != nil {
		return fmt.Errorf("reach service manager: %w", err)
	}
	// Windows would only mark a service that runs for deletion.
	if err := Control("stop"); err != nil {
		return err
	}
	if err := m.Uninstall(); err != nil {
		return fmt.Errorf("unregister service: %w", err)
	}
	fmt.Fprintf(out, "uninstalled; %s is kept\n", p.folder)
	return nil
}

// Control starts, stops or restarts the service, also if the MSI installed it. It waits
// until the service runs or has stopped, up to controlLimit.
func Control(action string) error {
	s, done, err := open(windows.SERVICE_START | windows.SERVICE_STOP | windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer done()
	if action != "start" {
		if _, err := s.Control(svc.Stop); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
			return fmt.Errorf("stop service: %w", err)
		}
		if err := await(s, svc.Stopped); err != nil {
			return err
		}
	}
	if action == "stop" {
		return nil
	}
	if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return fmt.Errorf("start service: %w", err)
	}
	return await(s, svc.Running)
}

// open opens the service with the rights of access and no more, so that a user who may
// only start and stop it can do that. The caller calls the func at the end.
func open(access uint32) (*mgr.Service, func(), error) {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, nil, fmt.Errorf("reach service manager: %w", err)
	}
	h, err := windows.OpenService(m, windows.StringToUTF16Ptr(name), access)
	if err != nil {
		windows.CloseServiceHandle(m)
		if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
			err = kardianos.ErrNotInstalled
		}
		return nil, nil, fmt.Errorf("open service: %w", err)
	}
	s := &mgr.Service{Name: name, Handle: h}
	return s, func() {
		s.Close()
		windows.CloseServiceHandle(m)
	}, nil
}

// controlLimit is how long a start or stop may take.
const controlLimit = 30 * time.Second

// await waits until the service is in the state want, up to controlLimit.
func await(s *mgr.Service, want svc.State) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(controlLimit)
	for {
		now, err := s.Query()
		if err != nil {
			return fmt.Errorf("ask service: %w", err)
		}
		if now.State == want {
			return nil
		}
		if want == svc.Running && now.State == svc.Stopped {
			return fmt.Errorf("the service ended with %d: see its messages in the Event Log, log Application, source %s", max(now.Win32ExitCode, now.ServiceSpecificExitCode), name)
		}
		select {
		case <-tick.C:
		case <-late:
			return fmt.Errorf("the service did not get there within %s: see the Event Log, log Application, source %s", controlLimit, name)
		}
	}
}

// Status returns whether the service runs: running, stopped or not installed.
func Status() (string, error) {
	s, done, err := open(windows.SERVICE_QUERY_STATUS)
	if errors.Is(err, kardianos.ErrNotInstalled) {
		return Absent, nil
	}
	if err != nil {
		return "", err
	}
	defer done()
	now, err := s.Query()
	switch {
	case err != nil:
		return "", fmt.Errorf("ask service: %w", err)
	case now.State == svc.Running:
		return Running, nil
	}
	return Stopped, nil
}

// groupOf is for systemd.
func groupOf(string) (string, error) { return "", nil }
