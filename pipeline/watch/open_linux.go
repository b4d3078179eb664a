// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// self is the user as which the process runs. It stays that user.
var self = os.Geteuid()

// Root is the folder of a tree that is held open, so that many files beneath it are opened
// with fewer calls. It goes on to mean that folder, also where another takes its place: so
// hold it for a session, and not for longer.
type Root struct {
	path string
	fd   int
}

// OpenRoot opens the folder of a tree. Its own path may have a link.
func OpenRoot(path string) (*Root, error) {
	fd, err := openRoot(path)
	if err != nil {
		return nil, refuse(path, err)
	}
	return &Root{path, fd}, nil
}

// Close gives the folder back.
func (r *Root) Close() { _ = unix.Close(r.fd) } // nothing was written

// Open opens the file rel below r for reading, and returns its Stat. It opens only
// regular files, follows no link below r, and never blocks. The error is a *Refusal,
// ErrBusy, fs.ErrNotExist if the file has vanished, or the system's.
func (r *Root) Open(rel string) (*os.File, Stat, error) {
	path := filepath.Join(r.path, rel)
	if err := local(r.path, rel); err != nil {
		return nil, Stat{}, err
	}
	// Look before opening: to open a device can have an effect on it. This look may follow
	// a link on the way, but the open does not.
	st, err := statAt(r.fd, rel)
	if errors.Is(err, unix.ENAMETOOLONG) {
		st, err = statBelow(r.fd, rel)
	}
	if err != nil {
		return nil, Stat{}, refuse(path, err)
	}
	if err := regular(path, st); err != nil {
		return nil, Stat{}, err
	}
	// To read a sample must not look as if its owner had read it. The system lets only the
	// owner and root say so.
	quiet := 0
	if self == 0 || self == int(st.Owner) {
		quiet = unix.O_NOATIME
	}
	fd, err := openBelow(r.fd, rel, readOnly|quiet)
	if quiet != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL)) {
		fd, err = openBelow(r.fd, rel, readOnly) // root without its capability, or a file system that cannot
	}
	if err != nil {
		return nil, Stat{}, refuse(path, err)
	}
	var sys unix.Stat_t
	if err = unix.Fstat(fd, &sys); err == nil {
		st = fromSystem(&sys)
		err = regular(path, st)
	}
	if err != nil {
		unix.Close(fd)
		return nil, Stat{}, refuse(path, err)
	}
	return os.NewFile(uintptr(fd), path), st, nil
}

// readOnly opens a file to read it, and never blocks.
const readOnly = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

// stays reports whether the text of rel stays below its root.
func stays(rel string) bool { return filepath.IsLocal(rel) }

// refuse returns the error of Open for an error of the system.
func refuse(path string, err error) error {
	reason := ""
	var told *Refusal
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESTALE):
		return gone(path)
	case errors.Is(err, unix.EAGAIN):
		return ErrBusy
	case errors.Is(err, unix.ELOOP):
		reason = "symlink"
	case errors.Is(err, unix.EXDEV):
		reason = "outside"
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		reason = "device"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		reason = "permission"
	default:
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Refusal{Reason: reason, Path: path, Err: err}
}

func openRoot(root string) (int, error) {
	return again(func() (int, error) {
		return unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
}

// openBelow opens rel below the folder dir, and follows no link on the way. It asks the
// kernel for that in one call. If the kernel cannot do it (before 5.6, or because a
// filter forbids the call), it opens one path element at a time.
func openBelow(dir int, rel string, flags int) (int, error) {
	fd, err := resolve(dir, rel, flags)
	if errors.Is(err, unix.ENOTDIR) && flags&unix.O_DIRECTORY != 0 {
		// A link as the last element is ENOTDIR too, but it has not vanished.
		if st, failed := statBelow(dir, rel); failed == nil && st.Mode&fs.ModeSymlink != 0 {
			err = unix.ELOOP
		}
	}
	return fd, err
}

// resolve opens rel with beneath, in pieces if rel is longer than one call takes.
func resolve(dir int, rel string, flags int) (int, error) {
	at, rest := dir, rel
	defer func() {
		if at != dir {
			unix.Close(at)
		}
	}()
	for len(rest) >= unix.PathMax-1 {
		cut := strings.LastIndexByte(rest[:unix.PathMax-1], '/')
		if cut <= 0 {
			return -1, unix.ENAMETOOLONG
		}
		next, err := beneath(at, rest[:cut], unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return stepOn(dir, rel, flags, err)
		}
		if at != dir {
			unix.Close(at)
		}
		at, rest = next, rest[cut+1:]
	}
	fd, err := beneath(at, rest, flags)
	if err != nil {
		return stepOn(dir, rel, flags, err)
	}
	return fd, nil
}

// beneath opens rel below the folder dir in one call, and follows no link.
func beneath(dir int, rel string, flags int) (int, error) {
	return again(func() (int, error) {
		return unix.Openat2(dir, rel, &unix.OpenHow{
			Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
	})
}

// stepOn opens rel one path element at a time if err, from beneath, says that the kernel
// cannot do it in one call. Otherwise it returns err.
func stepOn(dir int, rel string, flags int, err error) (int, error) {
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.E2BIG) {
		return -1, err
	}
	return stepBelow(dir, rel, flags)
}

// stepBelow is openBelow, but opens one path element at a time.
func stepBelow(dir int, rel string, flags int) (int, error) {
	at := dir
	defer func() {
		if at != dir {
			unix.Close(at)
		}
	}()
	for {
		name, rest, more := strings.Cut(rel, "/")
		if !more {
			return again(func() (int, error) {
				return unix.Openat(at, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
			})
		}
		next, err := again(func() (int, error) {
			return unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		})
		if err != nil {
			// With O_DIRECTORY a link is ENOTDIR, which would mean that it has vanished.
			if st, failed := statAt(at, name); errors.Is(err, unix.ENOTDIR) && failed == nil && st.Mode&fs.ModeSymlink != 0 {
				err = unix.ELOOP
			}
			return -1, err
		}
		if at != dir {
			unix.Close(at)
		}
		at, rel = next, rest
	}
}

// statBelow is Lstat of rel below dir, and follows no link on the way.
func statBelow(dir int, rel string) (Stat, error) {
	parent, name := filepath.Split(rel)
	if parent == "" {
		return statAt(dir, name)
	}
	at, err := openBelow(dir, strings.TrimRight(parent, "/"), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Stat{}, err
	}
	defer unix.Close(at)
	return statAt(at, name)
}

func statAt(dir int, name string) (Stat, error) {
	var st unix.Stat_t
	_, err := again(func() (int, error) { return 0, unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return Stat{}, err
	}
	return fromSystem(&st), nil
}

// lstatBelow is Lstat of rel below root, for a path of any length. It may follow a link
// on the way; only opening the file makes sure that there is none.
func lstatBelow(root, rel string) (Stat, error) {
	st, err := Lstat(join(root, rel))
	if err == nil || !errors.Is(err, unix.ENAMETOOLONG) {
		return st, err
	}
	dir, err := openRoot(root)
	if err != nil {
		return Stat{}, refuse(root, err)
	}
	defer unix.Close(dir)
	st, err = statBelow(dir, rel)
	if err != nil {
		return Stat{}, refuse(filepath.Join(root, rel), err)
	}
	return st, nil
}

// openFolder opens the directory rel below root to list it, and follows no link below
// root.
func openFolder(root, rel string) (*os.File, error) {
	path := filepath.Join(root, rel)
	if f := openStraight(path); f != nil {
		return f, nil
	}
	dir, err := openRoot(root)
	if err != nil {
		return nil, refuse(root, err)
	}
	defer unix.Close(dir)
	fd, err := openBelow(dir, rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, refuse(path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openStraight opens a directory in one call, if no element of its path is a link, also
// none above the root. It returns nil if it cannot: the longer way tells why.
func openStraight(path string) *os.File {
	fd, err := again(func() (int, error) {
		return unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW,
			Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
	})
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

// lstatIn is Lstat of a name in an open directory.
func lstatIn(dir *os.File, name string) (st Stat, err error) {
	raw, err := dir.SyscallConn()
	if err != nil {
		return Stat{}, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { st, failed = statAt(int(fd), name) }); err != nil {
		return Stat{}, err
	}
	if failed != nil {
		return Stat{}, refuse(filepath.Join(dir.Name(), name), failed)
	}
	return st, nil
}

// again repeats a call while a signal interrupts it.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
