// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// toldByEar returns one event as the kernel writes it.
func toldByEar(mask uint64, handle, name string) []byte {
	info := make([]byte, handleAt+handleTop, 64)
	info[0] = unix.FAN_EVENT_INFO_TYPE_DFID_NAME
	binary.NativeEndian.PutUint32(info[handleAt:], uint32(len(handle)))
	info = append(append(info, handle...), name+"\x00"...)
	for len(info)%4 != 0 {
		info = append(info, 0)
	}
	binary.NativeEndian.PutUint16(info[2:], uint16(len(info)))
	b := make([]byte, eventHead)
	b[4] = unix.FANOTIFY_METADATA_VERSION
	binary.NativeEndian.PutUint32(b, uint32(len(b)+len(info)))
	binary.NativeEndian.PutUint16(b[6:], eventHead)
	binary.NativeEndian.PutUint64(b[8:], mask)
	return append(b, info...)
}

func TestEarEvents(t *testing.T) {
	var got []string
	tell := func(h earEvent) { got = append(got, fmt.Sprintf("%q %q %#x", h.handle, h.name, h.op())) }
	buf := append(toldByEar(unix.FAN_CREATE|unix.FAN_CLOSE_WRITE, "12345678", "f"), toldByEar(unix.FAN_ATTRIB|unix.FAN_ONDIR, "1234", "")...)
	if err := earEvents(buf, tell); err != nil {
		t.Error(err)
	}
	want := []string{
		fmt.Sprintf("%q %q %#x", "\x08\x00\x00\x00\x00\x00\x00\x0012345678", "f", fsnotify.Write|closed),
		fmt.Sprintf("%q %q %#x", "\x04\x00\x00\x00\x00\x00\x00\x001234", ".", fsnotify.Chmod|ofFolder),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s, want %s", got, want)
	}
	for what, bad := range map[string][]byte{
		"cut off": buf[:eventHead-1], "cut short": buf[:eventHead+1], "a path": toldByEar(unix.FAN_CREATE, "1234", "a/b"),
		"above": toldByEar(unix.FAN_CREATE, "1234", ".."), "no folder": toldByEar(unix.FAN_CREATE, "1234", "f")[:eventHead],
	} {
		if what == "no folder" {
			binary.NativeEndian.PutUint32(bad, eventHead)
		}
		if err := earEvents(bad, tell); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzEarEvents(f *testing.F) {
	f.Add(toldByEar(unix.FAN_CREATE, "12345678", "f"))
	f.Add(append(toldByEar(unix.FAN_ATTRIB|unix.FAN_ONDIR, "1234", ""), toldByEar(unix.FAN_MOVED_TO, "1", "name")...))
	f.Fuzz(func(t *testing.T, buf []byte) {
		err := earEvents(buf, func(h earEvent) {
			if strings.ContainsAny(string(h.name), "/\x00") || string(h.name) == ".." {
				t.Errorf("name %q", h.name)
			}
			if h.handle != nil && len(h.handle) < handleTop {
				t.Errorf("handle %q", h.handle)
			}
			h.op()
		})
		if err != nil && !errors.Is(err, errMalformed) {
			t.Error(err)
		}
	})
}
