// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// denyWrite is the share mode with which a file is asked about: other programs may read,
// rename and remove it meanwhile, but not open it for writing.
const denyWrite = windows.FILE_SHARE_READ | windows.FILE_SHARE_DELETE

// writer opens the file with denyWrite, which fails while a program has it open for
// writing. While it is open here, an open for writing would fail. So writer does that
// only if the file is still same, which means that it was quiet for Settle; otherwise it
// returns unsure.
func writer(root, rel string, st Stat, same *Stat) (finding, Stat) {
	if same == nil || !st.Same(*same) {
		return unsure, st
	}
	h, err := openBelow(root, rel, windows.GENERIC_READ|windows.SYNCHRONIZE, denyWrite)
	if err != nil {
		err = refuse(join(root, rel), err)
	}
	switch {
	case errors.Is(err, ErrBusy):
		return written, st
	case errors.Is(err, ErrTaken):
		return settled, st // the other anti-virus has judged it, and that verdict must be recorded
	case errors.Is(err, fs.ErrNotExist), linked(err):
		return missing, st
	case err != nil:
		return unsure, st
	}
	defer windows.CloseHandle(h)
	now, err := statHandle(h)
	if err != nil || !now.Same(*same) {
		return unsure, st
	}
	return settled, now
}

// writerIn is writer for a name in a folder that is open.
func writerIn(_ *os.File, root, rel, _ string, st Stat, same *Stat) (finding, Stat) {
	return writer(root, rel, st, same)
}
