// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// writersOf names the programs that have the file at path open for writing, as far as this
// process may see that: root sees all of them. A memory map without a descriptor is not
// seen.
func writersOf(path string) (names []string) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return nil
	}
	all, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is good
	for _, fd := range all {
		if at, err := os.Stat(fd); err != nil || !os.SameFile(st, at) || !openToWrite(fd) {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		comm, _ := os.ReadFile(filepath.Join(process, "comm")) // it may be gone by now
		name := fmt.Sprintf("%s, pid %s", printable(string(bytes.TrimSpace(comm))), filepath.Base(process))
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// openToWrite reports whether a descriptor, as it lies in /proc, can be written to.
func openToWrite(fd string) bool {
	info, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(fd)), "fdinfo", filepath.Base(fd)))
	for line := range strings.Lines(string(info)) {
		if text, is := strings.CutPrefix(line, "flags:"); is {
			flags, err := strconv.ParseUint(strings.TrimSpace(text), 8, 64)
			return err == nil && flags&syscall.O_ACCMODE != syscall.O_RDONLY
		}
	}
	return false
}
