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

// mounts reports mounts that come and go. A nil one reports none. Only the tender of a
// tree has it.
type mounts struct {
	fd     int
	last   []string  // the mounts at and below the tree
	unsure time.Time // when changed last assumed that one of them is another
}

// unsureEvery is how often changed assumes that a mount at or below the tree is another,
// if the system reuses the numbers of mounts, so that it cannot tell.
const unsureEvery = time.Minute

func openMounts() *mounts {
	// Not os.Open: the poller of the runtime would consume the changes.
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

// changed compares the mounts with those of the last call. below reports whether those at
// and below dir are others than before; some, whether any mount came or went.
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
		// The line is ID PARENT MAJOR:MINOR ROOT MOUNTPOINT ...; a blank in a path is \040.
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

// mountID returns the number of a mount that no other mount has had before. ok is false
// if the kernel (before 6.8) has none. The numbers in mountinfo are reused: with them a
// file system that was unmounted and mounted again looks the same.
func mountID(point string) (id string, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, point, unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID_UNIQUE, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return "", false
	}
	return strconv.FormatUint(st.Mnt_id, 10), true
}

// unescape replaces each \NNN (octal), which /proc writes for a blank or a line end in a
// path.
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
