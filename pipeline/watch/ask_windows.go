// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// writer opens the file without leave to write for others, which fails while a
// writer has it. That would make the writer's own next open fail, so it is done
// only after Settle of quiet.
func writer(root, rel string, st Stat, same *Stat) (finding, Stat) {
	if same == nil || !st.Same(*same) {
		return unsure, st
	}
	h, err := openHandle(filepath.Join(root, rel), windows.GENERIC_READ,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, windows.FILE_FLAG_OPEN_REPARSE_POINT)
	switch {
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_LOCK_VIOLATION):
		return written, st
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
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
