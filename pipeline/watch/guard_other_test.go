// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

import "os"

// links holds the ways to make a link to a folder.
func links() map[string]func(to, at string) error {
	return map[string]func(to, at string) error{"symlink": os.Symlink}
}
