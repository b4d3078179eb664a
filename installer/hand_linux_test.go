// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"strings"
	"testing"
)

// The whole of it runs under a real systemd: packaging/test-install.sh.
func TestUnitByHandIsThePackagedOne(t *testing.T) {
	text := unit("/opt/certpush/certpush")
	for _, want := range []string{"\nExecStart=/opt/certpush/certpush run -c /etc/certpush.toml\n", "\nExecPaths=/opt/certpush/certpush ", "\nUser=certpush\n", "\nNoNewPrivileges=yes\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(text, "/usr/bin/certpush") || strings.Contains(text, "{{") {
		t.Error(text)
	}
}
