// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// knowsPeers says that the system tells who is at the other end of a Unix socket. Then
// the command gives its orders there, and sends no token.
const knowsPeers = true

// peerOf returns the user of the process at the other end of a Unix socket: of the one
// that connected, or of the one that listens.
func peerOf(conn net.Conn) (uid uint32, ok bool) {
	c, is := conn.(*net.UnixConn)
	if !is {
		return 0, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if ok = err == nil; ok {
			uid = cred.Uid
		}
	})
	return uid, ok && err == nil
}

// trustedPeer reports whether the process at the other end of a Unix socket
// runs as root or as us.
func trustedPeer(conn net.Conn) bool {
	uid, ok := peerOf(conn)
	return ok && (uid == 0 || int(uid) == os.Geteuid())
}

// errStranger says that the listener of a socket is not the service.
var errStranger = errors.New("a stranger listens there")

// knownListener returns an error unless the listener at the other end of conn runs as
// root, or as the owner of the state folder.
func knownListener(conn net.Conn, state string) error {
	uid, ok := peerOf(conn)
	if !ok {
		return fmt.Errorf("%w: the system does not tell who", errStranger)
	}
	return knownUser(uid, state)
}

// knownUser is knownListener for a listener that runs as uid.
func knownUser(uid uint32, state string) error {
	var st unix.Stat_t
	if uid == 0 || unix.Stat(state, &st) == nil && st.Uid == uid {
		return nil
	}
	return fmt.Errorf("%w: user %d, who is neither root nor the owner of the state folder", errStranger, uid)
}

// longest is how long the path of a socket may be for the system.
const longest = 107

// throughFolder calls f with a path for the socket at path that is short enough for the
// system. That path is good until f returns.
func throughFolder(path string, f func(path string) error) error {
	if len(path) <= longest {
		return f(path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(dir)
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}

// dialSocket connects to the socket at path.
func dialSocket(ctx context.Context, path string) (conn net.Conn, err error) {
	err = throughFolder(path, func(path string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// ownSocket returns where this process takes the command's orders: in the folder that the
// unit gives it, or in the state folder.
func ownSocket(state string) endpoint {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if !underManager() || !filepath.IsAbs(dir) {
		dir = state
	}
	return endpoint{"unix", filepath.Join(dir, socketFile)}
}

// unitSocket is the own socket of the service in the package. It is asked if the note of
// a service on the unit's state folder cannot be read.
const unitSocket = "/run/certpush/" + socketFile

// refuses reports whether err says that nobody listens at a socket that is there.
func refuses(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
