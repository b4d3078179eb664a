// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package watch

import "os"

// writer returns unsure: this system cannot be asked, so the time without a change
// decides.
func writer(_, _ string, st Stat, _ *Stat) (finding, Stat) { return unsure, st }

// writerIn is writer for a name in a folder that is open.
func writerIn(_ *os.File, root, rel, _ string, st Stat, same *Stat) (finding, Stat) {
	return writer(root, rel, st, same)
}
