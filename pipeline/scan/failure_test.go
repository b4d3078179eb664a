// SPDX-License-Identifier: Apache-2.0

package scan_test

import (
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/scan"
)

func TestFailureText(t *testing.T) {
	f := scan.Failed(scan.Unclear, "read reply").About([]byte("\x1b[31m\u202e" + strings.Repeat("x", 1000)))
	if len(f.Raw) != scan.MaxRaw {
		t.Errorf("raw is %d bytes", len(f.Raw))
	}
	if strings.ContainsAny(f.Error(), "\x1b\u202e") {
		t.Errorf("raw bytes in %q", f.Error())
	}
}
