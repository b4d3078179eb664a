// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// TestManyHeldFilesStopNobody: one user holds very many journaled files by leases. They
// are given back to settle, the file of another folder is pushed, and theirs are when
// they are let go.
func TestManyHeldFilesStopNobody(t *testing.T) {
	const files = 700
	l := newLab(t)
	l.c.Half = config.ProducerOnly
	var paths []string
	for i := range files {
		paths = append(paths, l.write(fmt.Sprint("held/", i), fmt.Sprint(i)))
	}
	l.start()
	l.until("the lines", func() bool { return len(l.lines("backlog")) == files })
	l.halt()
	var held []int
	letGo := func() {
		for _, fd := range held {
			unix.Close(fd)
		}
		held = nil
	}
	defer letGo()
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skipf("too few descriptors: %v", err)
		}
		held = append(held, fd)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			t.Skipf("take a lease: %v", err)
		}
	}
	l.c.Half = config.Both
	l.start()
	other := l.write("else/f", "text")
	l.until("the other file", func() bool { return l.pushed(other, "text") })
	l.until("the crowd", func() bool {
		s := l.p.Status().Scanners[0]
		return s.Crowded && s.GivenBack >= 400 && s.Held <= 256
	})
	if !strings.Contains(l.logged(), "other programs hold very many files") {
		t.Error("it is not in the log")
	}
	letGo()
	l.until("every file", func() bool {
		judged := map[string]bool{}
		for _, o := range l.outcomes() {
			judged[o.Path] = judged[o.Path] || o.Outcome == sample.Done
		}
		for _, path := range paths {
			if !judged[path] {
				return false
			}
		}
		return true
	})
}
