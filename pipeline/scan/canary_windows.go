// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"os"
)

// canaryFile returns a File whose content is only in memory: Defender would
// take an EICAR file away before it could be sent.
func canaryFile(text []byte) (File, error) {
	f, err := os.Open(os.DevNull)
	return File{F: f, body: bytes.NewReader(text)}, err
}
