// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kind is what is known of a type of file system.
type kind struct {
	name      string
	elsewhere bool // other hosts or processes may write it without an event here
	fleeting  bool // its identity does not last: the same one may have other files when it is mounted again
	madeUp    bool // it makes up inode numbers
	numbered  bool // its fsid is made of its UUID
}

// kindOf returns what is known of the file systems with a magic number.
func kindOf(magic uint32) kind {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return kind{name: "ext4", numbered: true}
	case unix.XFS_SUPER_MAGIC:
		return kind{name: "xfs"}
	case unix.BTRFS_SUPER_MAGIC:
		return kind{name: "btrfs", numbered: true}
	case 0x2fc12fc1:
		return kind{name: "zfs", numbered: true}
	case unix.MSDOS_SUPER_MAGIC:
		return kind{name: "vfat", fleeting: true, madeUp: true}
	case unix.EXFAT_SUPER_MAGIC:
		return kind{name: "exfat", fleeting: true, madeUp: true}
	case unix.FUSE_SUPER_MAGIC:
		return kind{name: "fuse", elsewhere: true, fleeting: true, madeUp: true}
	case unix.NFS_SUPER_MAGIC:
		return kind{name: "nfs", elsewhere: true}
	case unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC:
		return kind{name: "cifs", elsewhere: true}
	case unix.CEPH_SUPER_MAGIC:
		return kind{name: "ceph", elsewhere: true}
	case unix.V9FS_MAGIC:
		return kind{name: "9p", elsewhere: true}
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return kind{name: "afs", elsewhere: true}
	case unix.CODA_SUPER_MAGIC:
		return kind{name: "coda", elsewhere: true}
	}
	return kind{}
}

// loopMajor is the major number of loop devices: an image can be written while it is not
// mounted, with its UUID as it was.
const loopMajor = 7

// MediumOf returns the file system on which the folder at path lies.
func MediumOf(path string) (Medium, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return Medium{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var s unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return Medium{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return Medium{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	k := kindOf(uint32(s.Type))
	m := Medium{Kind: k.name, Elsewhere: k.elsewhere, MadeUp: k.madeUp}
	switch uuid := uuidOf(fd); {
	case uuid != "":
		m.ID = uuid
	case k.numbered && s.Fsid.Val[0]|s.Fsid.Val[1] != 0:
		m.ID = fmt.Sprintf("%x.%x", uint32(s.Fsid.Val[0]), uint32(s.Fsid.Val[1]))
	}
	if k.fleeting || unix.Major(uint64(st.Dev)) == loopMajor {
		id, ok := mountID(path)
		if !ok {
			id = reusedMountID(path)
		}
		boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it the mount alone tells
		m.ID = strings.TrimSpace(fmt.Sprintf("%s %x mount %s boot %s", m.ID, st.Dev, id, boot))
	}
	if m.ID != "" {
		m.ID = fmt.Sprintf("%x %s", uint32(s.Type), m.ID)
	}
	return m, nil
}

// reusedMountID returns the number of a mount, which another one may get after it.
func reusedMountID(path string) string {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st) != nil {
		return ""
	}
	return strconv.FormatUint(st.Mnt_id, 10)
}

const (
	getUUID     = 0x80111500 // FS_IOC_GETFSUUID, from Linux 6.9 on
	getGeometry = 0x80705864 // XFS_IOC_FSGEOMETRY_V1
)

// uuidOf returns the UUID of the file system of fd, or "" if the system does not tell it.
func uuidOf(fd int) string {
	var told struct {
		size uint8
		uuid [16]byte
	}
	if ioctl(fd, getUUID, unsafe.Pointer(&told)) && told.size <= 16 && told.uuid != [16]byte{} {
		return fmt.Sprintf("%x", told.uuid[:told.size])
	}
	var geometry [112]byte // the UUID lies behind 64 bytes of sizes
	if ioctl(fd, getGeometry, unsafe.Pointer(&geometry)) {
		return fmt.Sprintf("%x", geometry[64:80])
	}
	return ""
}

func ioctl(fd int, request uintptr, to unsafe.Pointer) bool {
	_, _, no := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(to))
	return no == 0
}
