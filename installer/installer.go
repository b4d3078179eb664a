// SPDX-License-Identifier: Apache-2.0

// Package installer installs certpush on a machine by hand, where no package did.
//
// It promises: it changes nothing that a package or an administrator put there. It
// writes only files that are missing, and removes only files that it wrote.
//
// Invariants:
//
//  1. If a package installed certpush, Install refuses, because our unit would shadow
//     the package's. Uninstall then removes only such a unit.
//  2. The unit is the packaged one, with the program's own path. On Windows the service
//     is registered and configured as by the MSI.
//  3. Uninstall keeps configuration and state.
//  4. A drop-in loosens the unit only as far as the configuration needs. The reason
//     stands beside each line.
//
// The package starts no goroutine.
package installer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// File is one file of an installation.
type File struct {
	Path, Text string
}

// Needs are the paths that the unit must allow for a configuration. All are absolute.
type Needs struct {
	Trees   []string // watched folders
	Reads   []string // files that certpush reads
	Sockets []string // Unix sockets of scanners
	Writes  []string // folders in which certpush writes
	Ears    string   // the command line that opens what the engine fanotify hears by; "": no tree has that engine
}

// DropIn returns the text of the systemd drop-in for n. It begins with a comment that
// says where to put it. A tree gets no right to write: certpush never alters a sample.
func DropIn(n Needs) string {
	var lines []string
	for _, socket := range n.Sockets {
		switch group, err := groupOf(socket); {
		case err != nil:
			lines = append(lines, fmt.Sprintf("# %q: %v. Start the scanner, and ask again: its group may be needed.", socket, err))
		case group != "":
			lines = append(lines, fmt.Sprintf("# %q belongs to this group.", socket), "SupplementaryGroups="+group)
		}
	}
	for _, path := range slices.Concat(n.Trees, n.Reads, n.Sockets, n.Writes) {
		if below(path, "/tmp") || below(path, "/var/tmp") {
			lines = append(lines, fmt.Sprintf("# %q is hidden by the unit's own /tmp.", path), "PrivateTmp=no")
			break
		}
	}
	for _, tree := range n.Trees {
		for _, home := range []string{"/home", "/root", "/run/user"} {
			if below(tree, home) {
				lines = append(lines, fmt.Sprintf("# %q can be read: the unit has ProtectHome=read-only. Do not set it to yes.", tree))
			}
		}
	}
	for _, dir := range n.Writes {
		if !below(dir, "/var/lib/certpush") && !below(dir, "/var/log/certpush") && !below(dir, "/run/certpush") {
			lines = append(lines, fmt.Sprintf("# %q is written; make it, and let the user certpush in.", dir), "ReadWritePaths="+quoted(dir))
		}
	}
	if n.Ears != "" {
		lines = append(lines, "# Engine fanotify: before each start root opens an ear for each file system, and the manager hands it to the",
			"# service. That gets no more rights than to find a folder by its handle. What cannot be heard is watched by inotify.",
			"ExecStartPre=-+"+n.Ears, "NotifyAccess=exec", "FileDescriptorStoreMax=64", "SystemCallFilter=open_by_handle_at")
	}
	if len(lines) == 0 {
		return "# This configuration needs no drop-in.\n"
	}
	return "# /etc/systemd/system/certpush.service.d/local.conf\n" +
		"# Then: systemctl daemon-reload && systemctl restart certpush\n[Service]\n" + strings.Join(lines, "\n") + "\n"
}

// quoted returns a path in the form of a unit's list of paths.
func quoted(path string) string {
	return strconv.Quote(strings.ReplaceAll(path, "%", "%%"))
}

func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// What Status says.
const (
	Running = "running"
	Stopped = "stopped"
	Absent  = "not installed"
)

// put writes f if there is no file at its path, and says on out what it did.
func put(out io.Writer, f File, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	w, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(out, "kept %s\n", f.Path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	_, err = w.WriteString(f.Text)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	fmt.Fprintf(out, "wrote %s\n", f.Path)
	return nil
}
