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

// hides are the directives of the unit that keep folders from us, with those
// folders.
var hides = []struct {
	directive string
	folders   []string
}{
	{"PrivateDevices=yes", []string{"/dev"}}, // but /dev/shm
	{"ProtectHome=", []string{"/home", "/root", "/run/user"}},
}

// underManager reports whether systemd started this process, with what it lets
// through.
func underManager() bool { return os.Getenv("INVOCATION_ID") != "" }

// hidden names the trees that the unit keeps from us: certpush sees another file
// system than a shell does.
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

// forbidden names the folders that are to be written, and that the unit lets us only
// read. A disk that may only be read is none of these: it may come back.
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

// locked adds to an error of a write what in the unit forbids it; ok is false
// where nothing does.
func locked(err error) (_ error, ok bool) {
	if underManager() && errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: %s", err, strict), true
	}
	return err, false
}

// mounts returns what is mounted where, as this process sees it. Without /proc there
// is nothing to say.
func mounts() []*procfs.MountInfo {
	all, err := procfs.GetMounts()
	if err != nil {
		return nil
	}
	return all
}

// mountOf returns the mount that path lies on, nil when none is known. Of two at one
// place the later one hides the other.
func mountOf(all []*procfs.MountInfo, path string) (at *procfs.MountInfo) {
	for _, m := range all {
		point := unescaped(m.MountPoint)
		if below(path, point) && (at == nil || len(point) >= len(unescaped(at.MountPoint))) {
			at = m
		}
	}
	return at
}

// unescaped undoes what mountinfo does to blanks in a path.
func unescaped(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// sealed reports whether what is mounted could be written, and may not be here.
func sealed(m *procfs.MountInfo) bool {
	_, here := m.Options["ro"]
	_, disk := m.SuperOptions["ro"]
	return here && !disk
}

// private reports whether this is a folder of systemd's that stands for /tmp.
func private(m *procfs.MountInfo) bool { return strings.Contains(m.Root, "/systemd-private-") }
