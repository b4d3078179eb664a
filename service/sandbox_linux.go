// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
)

// hides are the directives of the unit that hide folders from us, with those folders.
var hides = []struct {
	directive string
	folders   []string
}{
	{"PrivateDevices=yes", []string{"/dev"}}, // except /dev/shm
	{"ProtectHome=", []string{"/home", "/root", "/run/user"}},
}

// underManager reports whether systemd started this process, so that a unit restricts
// it.
func underManager() bool { return os.Getenv("INVOCATION_ID") != "" }

// hidden returns an error for each tree that the unit hides from us. A shell of the
// operator sees that tree.
func hidden(s Settings) []error {
	if !underManager() {
		return nil
	}
	var errs []error
	for _, t := range s.Pipeline.Trees {
		path := Resolved(t.Path)
		if m := mountOf(mounts(), path); m != nil && private(m) {
			errs = append(errs, fmt.Errorf("tree %s: PrivateTmp=yes in the unit puts another %s in its place: certpush service dropin prints what lets it through", t.Path, m.MountPoint))
			continue
		}
		f, err := os.Open(t.Path)
		if err == nil {
			f.Close()
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			continue
		}
		for _, h := range hides {
			for _, dir := range h.folders {
				if below(path, dir) {
					errs = append(errs, fmt.Errorf("tree %s: %w: %s in the unit hides it, or it is not there: certpush service dropin prints what lets it through", t.Path, err, h.directive))
				}
			}
		}
	}
	return errs
}

// forbidden returns an error for each folder that we have to write and that the unit
// lets us only read. It leaves out folders on a disk that is read-only itself, because
// that may change while we wait.
func forbidden(s Settings) []error {
	if !underManager() {
		return nil
	}
	var errs []error
	for _, dir := range s.Written() {
		if m := mountOf(mounts(), Resolved(dir)); m != nil && sealed(m) {
			errs = append(errs, fmt.Errorf("%s cannot be written: %s", dir, strict))
		}
	}
	return errs
}

const strict = "ProtectSystem=strict in the unit lets certpush write below /var/lib/certpush and /var/log/certpush alone: certpush service dropin prints the ReadWritePaths= that this needs"

// locked adds to the error of a write the directive of the unit that forbids it. ok is
// false if the unit does not.
func locked(err error) (_ error, ok bool) {
	if underManager() && errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: %s", err, strict), true
	}
	return err, false
}

// mounts returns the mounts as this process sees them, or nil without /proc.
func mounts() []*procfs.MountInfo {
	all, err := procfs.GetMounts()
	if err != nil {
		return nil
	}
	return all
}

// mountOf returns the mount on which path lies, or nil if it is not known. Of two mounts
// at one place the later one counts, because it hides the other.
func mountOf(all []*procfs.MountInfo, path string) (at *procfs.MountInfo) {
	for _, m := range all {
		point := unescaped(m.MountPoint)
		if below(path, point) && (at == nil || len(point) >= len(unescaped(at.MountPoint))) {
			at = m
		}
	}
	return at
}

// unescaped returns a path of mountinfo with its blanks as they are.
func unescaped(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// sealed reports whether the disk of a mount can be written, but this mount cannot.
func sealed(m *procfs.MountInfo) bool {
	_, here := m.Options["ro"]
	_, disk := m.SuperOptions["ro"]
	return here && !disk
}

// private reports whether this is a folder that systemd put in place of /tmp.
func private(m *procfs.MountInfo) bool { return strings.Contains(m.Root, "/systemd-private-") }
