// SPDX-License-Identifier: Apache-2.0

// Package installer is what runs on the target to fit certpush into it, where
// no package did.
//
// It promises to say in full what it would have an administrator put where, and
// touches nothing by itself.
//
// Invariants:
//
//  1. A drop-in loosens the unit only as far as the configuration needs, with
//     the reason beside each line.
package installer

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/certpush/certpush/packaging"
)

// File is one file of an installation.
type File struct {
	Path, Text string
}

// Plan lists the files that an installation by hand puts on a Linux target, the
// binary /usr/bin/certpush apart.
func Plan() []File {
	return []File{
		{"/etc/systemd/system/certpush.service", packaging.Unit},
		{"/etc/certpush.toml", packaging.Config},
		{"/etc/sysctl.d/30-certpush.conf", packaging.Sysctl},
	}
}

// Needs is what a configuration asks of the unit.
type Needs struct {
	Trees   []string // watched folders, absolute
	Sockets []string // Unix sockets of scanners, absolute
}

// DropIn returns the systemd drop-in for n, with where to put it. certpush never
// alters a sample, so a tree needs no right to write.
func DropIn(n Needs) string {
	var lines []string
	for _, socket := range n.Sockets {
		if strings.Contains(socket, "clam") {
			lines = append(lines, fmt.Sprintf("# %q belongs to this group.", socket), "SupplementaryGroups=clamav")
			break
		}
	}
	for _, tree := range n.Trees {
		for _, hidden := range []string{"/tmp", "/var/tmp"} {
			if below(tree, hidden) {
				lines = append(lines, fmt.Sprintf("# %q is hidden by the unit's own /tmp.", tree), "PrivateTmp=no")
			}
		}
		if below(tree, "/dev/shm") {
			lines = append(lines, fmt.Sprintf("# %q is hidden by the unit's own /dev.", tree), "PrivateDevices=no")
		}
		for _, home := range []string{"/home", "/root", "/run/user"} {
			if below(tree, home) {
				lines = append(lines, fmt.Sprintf("# %q can be read: the unit has ProtectHome=read-only. Do not set it to yes.", tree))
			}
		}
	}
	if len(lines) == 0 {
		return "# This configuration needs no drop-in.\n"
	}
	return "# /etc/systemd/system/certpush.service.d/local.conf\n" +
		"# Then: systemctl daemon-reload && systemctl restart certpush\n[Service]\n" + strings.Join(lines, "\n") + "\n"
}

func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
