// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mayWrite returns nil if we may write in dir, a folder that is there.
func mayWrite(dir string) error {
	switch err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s is on a disk that may only be read: name another folder, or mount it to write", printable(dir))
	case err != nil:
		return fmt.Errorf("write in %s: %w: let the user that certpush runs as in there, or name another folder", printable(dir), err)
	}
	return nil
}

// room returns how many bytes the disk of dir has, and how many of them are free. Where dir
// is not there it is the disk on which it would be made.
func room(dir string) (all, free int64, err error) {
	for at := dir; ; at = filepath.Dir(at) {
		var st unix.Statfs_t
		err := unix.Statfs(at, &st)
		if errors.Is(err, unix.ENOENT) && at != filepath.Dir(at) {
			continue
		}
		return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), err
	}
}

// madeUp returns the name of the file system of path if the kernel makes up what is in it.
func madeUp(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return ""
	}
	switch int64(st.Type) {
	case unix.PROC_SUPER_MAGIC:
		return "proc"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "cgroup"
	case unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC:
		return "debugfs"
	case unix.DEVPTS_SUPER_MAGIC:
		return "devpts"
	}
	return ""
}

// inotifyUse returns how many inotify instances and watches the processes hold that we can
// see and that run as our user.
func inotifyUse() (instances, watches int) {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, 0
	}
	for _, proc := range procs {
		var st unix.Stat_t
		if unix.Stat(proc, &st) != nil || int(st.Uid) != os.Geteuid() {
			continue
		}
		fds, err := os.ReadDir(proc + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(proc + "/fd/" + fd.Name()); err != nil || to != "anon_inode:inotify" {
				continue
			}
			instances++
			if text, err := os.ReadFile(proc + "/fdinfo/" + fd.Name()); err == nil {
				watches += strings.Count(string(text), "inotify wd:")
			}
		}
	}
	return instances, watches
}

// checkLimits tells the limits of the system, and whether they are enough for trees with so
// many folders, beside what is used already.
func checkLimits(r *report, trees, folders int, descriptors uint64, runs bool) {
	instances, watches := inotifyUse()
	if runs { // what the service holds is part of the use
		trees, folders = 0, 0
	}
	for _, l := range []struct {
		name       string
		used, more int
		next       string
	}{
		{"max_user_watches", watches, folders, "the rest of the folders is swept each minute: set it with sysctl, at least to "},
		{"max_user_instances", instances, trees, "the trees beyond it are swept each minute: set it with sysctl, at least to "},
	} {
		text, err := os.ReadFile("/proc/sys/fs/inotify/" + l.name)
		n, bad := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || bad != nil {
			r.note("limit", "fs.inotify."+l.name+" cannot be read")
			continue
		}
		what := fmt.Sprintf("fs.inotify.%s %d, %d in use, %d needed", l.name, n, l.used, l.more)
		if need := l.used + l.more; need > n {
			err = fmt.Errorf("too few: %s%d", l.next, need)
			what = fmt.Sprintf("fs.inotify.%s %d, %d in use, %d needed: ", l.name, n, l.used, l.more)
			r.result("limit", what, fmt.Errorf("%s%w", what, err))
			continue
		}
		r.ok("limit", what)
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		what := fmt.Sprintf("open files %d, about %d needed", files.Max, descriptors)
		if descriptors > files.Max {
			r.result("limit", what, fmt.Errorf("%s: lower the workers, or raise LimitNOFILE in the unit", what))
			return
		}
		r.ok("limit", what)
	}
}

// becomeService makes a check of root one of the user of the installed unit, with the
// right to read all files that the unit has, if the file is that of the unit. It returns
// the name of the user, or "" if nothing changed.
func becomeService(file string) string {
	name, installed := unitUser()
	if os.Geteuid() != 0 || !installed || name == "" || name == "root" || file != defaultFile() {
		return ""
	}
	u, err := user.Lookup(name)
	if err != nil {
		return ""
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if uidErr != nil || gidErr != nil || !canKeep() {
		return ""
	}
	var groups []int
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range append(ids, unitGroups()...) {
			if n, err := strconv.Atoi(id); err == nil && !slices.Contains(groups, n) {
				groups = append(groups, n)
			}
		}
	}
	if syscall.Setgroups(groups) != nil || syscall.Setresgid(gid, gid, gid) != nil || syscall.Setresuid(uid, uid, uid) != nil || setRights() != nil {
		return ""
	}
	return name
}

// unitGroups returns the ids of the groups that the unit adds.
func unitGroups() (ids []string) {
	for line := range unitLines() {
		value, is := strings.CutPrefix(line, "SupplementaryGroups=")
		if !is {
			continue
		}
		for _, name := range strings.Fields(value) {
			if g, err := user.LookupGroup(name); err == nil {
				ids = append(ids, g.Gid)
			}
		}
	}
	return ids
}

// hiddenByUnit returns why the installed unit, which is to run with these settings, does
// not see a tree. It returns nil if it does, or if no unit is installed.
func hiddenByUnit(file, tree string) error {
	if _, installed := unitUser(); !installed || file != defaultFile() {
		return nil
	}
	private := true
	for line := range unitLines() {
		key, value, _ := strings.Cut(line, "=")
		switch {
		case key == "PrivateTmp":
			private = value == "yes" || value == "true" || value == "on" || value == "1"
		case (key == "BindPaths" || key == "BindReadOnlyPaths") && strings.Contains(value, tree):
			return nil
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		if private && below(tree, dir) {
			return fmt.Errorf("PrivateTmp=yes in the unit puts another %s in its place: certpush service dropin prints what lets it through", dir)
		}
	}
	return nil
}
