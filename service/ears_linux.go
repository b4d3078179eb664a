// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline"
)

// This file lets the service hear whole file systems (the engine fanotify) without the
// rights that this takes. The unit starts `certpush ears` as root before the service: it
// opens an ear for each file system, and leaves it with the manager, who hands it to the
// service. It runs once for each start, takes its orders from the configuration alone, and
// nothing that the service does reaches it.

// earPrefix begins the name under which an ear is left with the manager. The device of its
// file system follows.
const earPrefix = "ear-"

// LeaveEars opens an ear for each file system of the trees that are heard by fanotify, and
// leaves it with the manager. A file system that cannot be heard is only told: its trees
// are watched by inotify.
func LeaveEars(f Flags, out io.Writer) error {
	if os.Geteuid() != 0 {
		return &coded{ExitPermission, errors.New("ears is for the service manager alone, which starts it as root: certpush service dropin prints the line")}
	}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return errors.New("there is no service manager to leave ears with: certpush service dropin prints the line that starts this; as root certpush run needs no help")
	}
	s, err := Load(f)
	if err != nil {
		return err
	}
	left := map[uint64]bool{}
	for _, t := range s.Pipeline.Trees {
		if t.Engine != "fanotify" {
			continue
		}
		if err := leaveEar(t.Path, left, out); err != nil {
			fmt.Fprintf(out, "tree %s cannot be heard by fanotify: %s\n", printable(t.Path), Printable(err.Error()))
		}
	}
	return barrier()
}

// leaveEar leaves the ear of a tree's file system, and those of what is mounted below it.
func leaveEar(path string, left map[uint64]bool, out io.Writer) error {
	dir, err := openByRoot(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := leaveOne(dir, left, out); err != nil {
		return err
	}
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())))
	if err != nil {
		return fmt.Errorf("ask path of folder: %w", err)
	}
	near, far := pipeline.MountsBelow(at)
	for _, point := range far {
		fmt.Fprintf(out, "%s, which is mounted in tree %s, cannot be heard by fanotify: another host or process serves it\n", printable(point), printable(path))
	}
	for _, point := range near {
		below, err := openByRoot(point)
		if err == nil {
			err = errors.Join(leaveOne(below, left, out), below.Close())
		}
		if err != nil {
			fmt.Fprintf(out, "%s, which is mounted in tree %s, cannot be heard by fanotify: %s\n", printable(point), printable(path), Printable(err.Error()))
		}
	}
	return nil
}

// leaveOne leaves the ear of the file system of dir, unless it is left already.
func leaveOne(dir *os.File, left map[uint64]bool, out io.Writer) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	if left[st.Dev] {
		return nil
	}
	ear, err := pipeline.OpenEar(dir)
	if err != nil {
		return err
	}
	defer ear.Close()
	name := earName(st.Dev)
	// One that an earlier start left and no service took would fill with events.
	if err := notify("FDSTOREREMOVE=1", "FDNAME="+name); err != nil {
		return err
	}
	if err := send(ear, "FDSTORE=1", "FDNAME="+name); err != nil {
		return err
	}
	left[st.Dev] = true
	fmt.Fprintf(out, "the file system of %s is heard\n", printable(dir.Name()))
	return nil
}

func earName(dev uint64) string {
	return fmt.Sprintf("%s%d-%d", earPrefix, unix.Major(dev), unix.Minor(dev))
}

// earOf is the opposite of earName.
func earOf(name string) (dev uint64, ok bool) {
	var major, minor uint32
	if _, err := fmt.Sscanf(name, earPrefix+"%d-%d", &major, &minor); err != nil {
		return 0, false
	}
	dev = unix.Mkdev(major, minor)
	return dev, earName(dev) == name
}

// openByRoot opens the folder path. It follows a link only if root owns it: a link that
// another user planted would choose what file system is heard.
func openByRoot(path string) (*os.File, error) {
	const folder = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Open("/", folder, 0)
	if err != nil {
		return nil, fmt.Errorf("open /: %w", err)
	}
	names := elements(path)
	for links := 0; len(names) > 0; {
		next, err := unix.Openat(at, names[0], unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			unix.Close(at)
			return nil, fmt.Errorf("open %s on the way to %s: %w", printable(names[0]), printable(path), err)
		}
		to, is, err := linkOfRoot(next)
		if links++; err == nil && is && links > 40 {
			err = unix.ELOOP
		}
		if err != nil {
			unix.Close(at)
			unix.Close(next)
			return nil, fmt.Errorf("%s on the way to %s: %w", printable(names[0]), printable(path), err)
		}
		names = names[1:]
		if !is {
			unix.Close(at)
			at = next
			continue
		}
		unix.Close(next)
		names = append(elements(to), names...)
		if filepath.IsAbs(to) {
			unix.Close(at)
			if at, err = unix.Open("/", folder, 0); err != nil {
				return nil, fmt.Errorf("open /: %w", err)
			}
		}
	}
	return os.NewFile(uintptr(at), path), nil
}

// elements returns the names in a path.
func elements(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

// linkOfRoot returns where fd leads, if it is a link. The error says that it is not root's,
// or that fd is no folder.
func linkOfRoot(fd int) (to string, is bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", false, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "", false, nil
	case unix.S_IFLNK:
	default:
		return "", false, unix.ENOTDIR
	}
	if st.Uid != 0 {
		return "", true, fmt.Errorf("it is a link of %s, who would choose what is heard: name the folder itself as the tree's path", userName(st.Uid))
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), true, err
}

// send is notify with a file.
func send(f *os.File, lines ...string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify manager: %w", err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("notify manager: %w", err)
	}
	failed := raw.Write(func(to uintptr) bool {
		err = unix.Sendmsg(int(to), []byte(strings.Join(lines, "\n")), unix.UnixRights(int(f.Fd())), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err := errors.Join(failed, err); err != nil {
		return fmt.Errorf("notify manager: %w", err)
	}
	return nil
}

// barrierLimit is how long barrier waits.
const barrierLimit = 5 * time.Second

// barrier waits until the manager has read what it was told: it does not listen to a
// process that has ended.
func barrier() error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer read.Close()
	if err := errors.Join(send(write, "BARRIER=1"), write.Close(), read.SetReadDeadline(time.Now().Add(barrierLimit))); err != nil {
		return err
	}
	if _, err := read.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for manager: %w", err)
	}
	return nil
}

// handedEars returns the ears that the manager hands to us, by device. The manager keeps
// none of them: nobody would empty it when we are gone.
func handedEars() (map[uint64]*os.File, error) {
	first := 3
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name) // it fails only for a name that cannot be
	}
	ears, failed := map[uint64]*os.File{}, error(nil)
	for i := range min(n, len(names)) {
		dev, ok := earOf(names[i])
		if !ok {
			continue
		}
		unix.CloseOnExec(first + i)
		failed = errors.Join(failed, notify("FDSTOREREMOVE=1", "FDNAME="+names[i]))
		if was := ears[dev]; was != nil {
			was.Close()
		}
		ears[dev] = os.NewFile(uintptr(first+i), names[i])
	}
	return ears, failed
}

// EarsCommand returns the command line of the helper for the installed unit, or for the
// packaged one if none is: its program, and the file that it names.
func EarsCommand() string {
	line := "/usr/bin/certpush run -c /etc/certpush.toml"
	for l := range unitLines() {
		if value, is := strings.CutPrefix(l, "ExecStart="); is && strings.Contains(value, " run ") {
			line = value
		}
	}
	return strings.Replace(line, " run ", " ears ", 1)
}

// unitHasEars reports whether the installed unit starts the helper. installed is false if
// no unit is.
func unitHasEars() (has, installed bool) {
	for l := range unitLines() {
		installed = true
		if value, is := strings.CutPrefix(l, "ExecStartPre="); is {
			has = has && value != "" || strings.Contains(value, "certpush ears ")
		}
	}
	return has, installed
}
