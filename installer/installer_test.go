// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"strings"
	"testing"
)

func TestDropInNamesWhatTheConfigurationNeeds(t *testing.T) {
	for _, c := range []struct {
		n    Needs
		want string
	}{
		{Needs{Trees: []string{"/srv/samples"}}, "needs no drop-in"},
		{Needs{Trees: []string{"/tmp/drop"}}, "\nPrivateTmp=no\n"},
		{Needs{Trees: []string{"/srv/samples"}, Ears: "/usr/bin/certpush ears -c /etc/certpush.toml"}, "\nExecStartPre=-+/usr/bin/certpush ears -c /etc/certpush.toml\nNotifyAccess=exec\nFileDescriptorStoreMax=64\nSystemCallFilter=open_by_handle_at\n"},
		{Needs{Reads: []string{"/tmp/hashes"}}, "\nPrivateTmp=no\n"},
		{Needs{Writes: []string{"/var/tmp/state"}}, "\nPrivateTmp=no\n"},
		{Needs{Trees: []string{"/dev/shm/drop"}}, "needs no drop-in"},
		{Needs{Writes: []string{"/var/lib/certpush", "/var/lib/certpush/journal", "/var/log/certpush"}}, "needs no drop-in"},
		{Needs{Writes: []string{"/data/certpush 1%"}}, "\nReadWritePaths=\"/data/certpush 1%%\"\n"},
		{Needs{Trees: []string{"/home/lab"}}, "Do not set it to yes"},
		{Needs{Trees: []string{"/srv/\n[Service]"}}, "needs no drop-in"},
		{Needs{Trees: []string{"/tmp/x\nExecStart=/bin/sh"}}, `x\nExecStart`},
	} {
		if got := DropIn(c.n); !strings.Contains(got, c.want) {
			t.Errorf("%+v:\n%s\nlacks %q", c.n, got, c.want)
		}
	}
}
