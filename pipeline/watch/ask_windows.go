// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/windows"
)

// denyWrite lets others read, rename and remove a file that is asked about.
const denyWrite = windows.FILE_SHARE_READ | windows.FILE_SHARE_DELETE

// writer opens the file without leave to write for others, which fails while a
// writer has it. That would make the writer's own next open fail, so it is done
// only after Settle of quiet.
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
		return settled, st // it has its verdict, which is to be recorded
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
