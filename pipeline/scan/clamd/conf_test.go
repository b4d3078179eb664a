// SPDX-License-Identifier: Apache-2.0

package clamd

import "testing"

// TestTheQueueOfAClamdOnThisHostIsABound, and no other one.
func TestTheQueueOfAClamdOnThisHostIsABound(t *testing.T) {
	unix, tcp, far := &address{network: "unix", at: "/run/clamav/clamd.ctl"}, &address{network: "tcp", at: "127.0.0.1:3310"}, &address{network: "tcp", at: "10.0.0.5:3310"}
	const debian = "# comment\nLocalSocket /run/clamav/clamd.ctl\n  MaxQueue   30\nMaxQueue 500\n"
	for _, c := range []struct {
		name      string
		addresses []*address
		texts     []string
		want      int
	}{
		{"its socket", []*address{unix}, []string{debian}, 10},
		{"another socket", []*address{unix}, []string{"LocalSocket /run/other\nMaxQueue 30\n"}, 0},
		{"the default", []*address{unix}, []string{"LocalSocket \"/run/clamav/clamd.ctl\"\n"}, 33},
		{"a queue that is none", []*address{unix}, []string{"LocalSocket /run/clamav/clamd.ctl\nMaxQueue many\n"}, 33},
		{"a small one", []*address{unix}, []string{"LocalSocket /run/clamav/clamd.ctl\nMaxQueue 2\n"}, 1},
		{"its port", []*address{tcp}, []string{"TCPSocket 3310\nTCPAddr 127.0.0.1\nMaxQueue 60\n"}, 20},
		{"the port of another host", []*address{far}, []string{"TCPSocket 3310\nMaxQueue 60\n"}, 0},
		{"the smallest of several", []*address{unix, tcp, far}, []string{debian, "TCPSocket 3310\nMaxQueue 15\n"}, 5},
		{"none", []*address{unix}, nil, 0},
		{"no text", []*address{unix}, []string{"\x00\xff\n\n"}, 0},
	} {
		if n := (&clamd{addresses: c.addresses}).mostBy(c.texts); n != c.want {
			t.Errorf("%s: %d, want %d", c.name, n, c.want)
		}
	}
}
