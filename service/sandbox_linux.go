// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// hides are the directives of the unit that keep folders from us, with those
// folders.
var hides = []struct {
	directive string
	folders   []string
}{
	{"PrivateTmp=yes", []string{"/tmp", "/var/tmp"}},
	{"PrivateDevices=yes", []string{"/dev"}},
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
				if t.Path == dir || strings.HasPrefix(t.Path, dir+"/") {
					errs = append(errs, fmt.Errorf("tree %s: %w: %s in the unit hides it, or it is not there: certpush service dropin prints what lets it through", t.Path, err, h.directive))
				}
			}
		}
	}
	return errs
}

// locked adds to an error of a write what in the unit forbids it; ok is false
// where nothing does.
func locked(err error) (_ error, ok bool) {
	if underManager() && errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: ProtectSystem=strict in the unit lets certpush write below /var/lib/certpush and /var/log/certpush alone: certpush service dropin prints the ReadWritePaths= that this needs", err), true
	}
	return err, false
}
