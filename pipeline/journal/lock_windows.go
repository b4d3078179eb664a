// SPDX-License-Identifier: Apache-2.0

package journal

import "os"

// lockFlags are the flags with which a lock file is opened.
const lockFlags = os.O_RDONLY
