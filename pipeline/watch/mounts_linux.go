// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mounts tells of mounts that come and go. nil knows of none.
type mounts struct {
	fd     int
	last   []string  // those at and below the tree
	unsure time.Time // when one of them may have been another, last
}

// unsureEvery is how often it is taken that a mount at or below the tree is
// another, where the system gives numbers again.
const unsureEvery = time.Minute

func openMounts() *mounts {
	// The runtime's own poller would take the changes away from us.
	fd, err := again(func() (int, error) { return unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil // without /proc a sweep finds what events miss
	}
	return &mounts{fd: fd}
}

func (m *mounts) close() {
	if m != nil {
		unix.Close(m.fd) // it was only read
	}
}

// changed reports whether any mount came or went since the last call, and whether the mounts
// at and below dir are others than before.
func (m *mounts) changed(dir string) (below, some bool) {
	if m == nil {
		return false, false
	}
	first := m.last == nil
	fds := []unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds, 0)
	if some = err == nil && n > 0; !some && !first {
		return false, false
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, some
	}
	now, told := []string{}, true
	for line := range bytes.Lines(text) {
		// ID PARENT MAJOR:MINOR ROOT MOUNTPOINT ...; a blank in a path is \040.
		words := strings.Fields(string(line))
		if len(words) > 4 && Within(dir, unescape(words[4])) {
			id, ok := mountID(unescape(words[4]))
			told = told && ok
			now = append(now, strings.Join(append(words[:5], id), " "))
		}
	}
	below = !first && !slices.Equal(now, m.last)
	if !first && !below && !told && time.Since(m.unsure) > unsureEvery {
		below, m.unsure = true, time.Now()
	}
	m.last = now
	return below, some
}

// mountID returns a number that no mount had before; ok is false where the kernel
// (before 6.8) gives none. Those in mountinfo are given again, so that what was
// unmounted and mounted again looks the same.
func mountID(point string) (id string, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, point, unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID_UNIQUE, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return "", false
	}
	return strconv.FormatUint(st.Mnt_id, 10), true
}

// unescape reads \NNN, by which /proc writes blanks and line ends in a path.
func unescape(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(n))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
