// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// told returns a record as the kernel writes it, with a name of size bytes: the rest is
// NUL.
func told(r record, size int) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(r.number))
	b = binary.NativeEndian.AppendUint32(b, r.mask)
	b = binary.NativeEndian.AppendUint32(b, r.cookie)
	b = binary.NativeEndian.AppendUint32(b, uint32(size))
	return append(append(b, r.name...), make([]byte, size-len(r.name))...)
}

func TestRecords(t *testing.T) {
	create := func(name string, size int) []byte {
		return told(record{number: 1, mask: unix.IN_CREATE, name: name}, size)
	}
	long := strings.Repeat("n", 255)
	for name, c := range map[string]struct {
		buf  []byte
		want []string
		bad  bool
	}{
		"nothing":                 {buf: nil},
		"a padded name":           {buf: create("f", 16), want: []string{"f"}},
		"without padding":         {buf: create("sixteen-letters-", 16), want: []string{"sixteen-letters-"}},
		"the folder itself":       {buf: create("", 0), want: []string{""}},
		"only padding":            {buf: create("", 16), want: []string{""}},
		"two":                     {buf: slices.Concat(create("a", 16), create("b", 32)), want: []string{"a", "b"}},
		"the longest":             {buf: create(long, 256), want: []string{long}},
		"any bytes":               {buf: create("\n\xff \\ \"", 16), want: []string{"\n\xff \\ \""}},
		"a name that looks ahead": {buf: create("...", 16), want: []string{"..."}},
		"cut in the head":         {buf: slices.Concat(create("a", 16), create("b", 16)[:recordHead-1]), want: []string{"a"}, bad: true},
		"cut in the name":         {buf: slices.Concat(create("a", 16), create("b", 16)[:recordHead+8]), want: []string{"a"}, bad: true},
		"a size beyond all":       {buf: slices.Concat(create("a", 16)[:12], []byte{0xff, 0xff, 0xff, 0xff}), bad: true},
		"a path":                  {buf: create("../x", 16), bad: true},
		"the folder above":        {buf: create("..", 16), bad: true},
		"NUL inside":              {buf: create("a\x00b", 16), bad: true},
	} {
		var got []string
		err := records(c.buf, func(r record) {
			got = append(got, r.name)
			if r.number != 1 || r.mask != unix.IN_CREATE {
				t.Errorf("%s: %+v", name, r)
			}
		})
		if !slices.Equal(got, c.want) || errors.Is(err, errMalformed) != c.bad || err != nil && !c.bad {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(slices.Concat(told(record{number: 3, mask: unix.IN_MOVED_FROM, cookie: 9, name: "a"}, 16), told(record{number: -1, mask: unix.IN_Q_OVERFLOW}, 0)))
	f.Add(told(record{number: 1, name: "a/b"}, 16))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := records(b, func(r record) {
			n++
			if path := join("/t", r.name); !Within("/t", path) || strings.Contains(r.name, "/") || r.name == ".." {
				t.Errorf("%q leads elsewhere", r.name)
			}
		})
		if err != nil && !errors.Is(err, errMalformed) || n > len(b)/recordHead || err == nil && n == 0 && len(b) > 0 {
			t.Errorf("%d told of %d bytes, %v", n, len(b), err)
		}
	})
}
