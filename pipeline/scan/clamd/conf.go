// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/certpush/certpush/pipeline/scan"
)

const (
	defaultQueue = 100 // clamd's own
	shareOfQueue = 3   // of its queue we take one part in so many: others ask it too
)

// Most implements scan.Bounded: a third of the MaxQueue of each clamd on this host whose
// configuration we may read.
func (c *clamd) Most() int {
	var texts []string
	// Where the packages of Debian and Fedora and the source lay it.
	for _, pattern := range []string{"/etc/clamav/clamd.conf", "/etc/clamd.d/*.conf", "/etc/clamd.conf", "/usr/local/etc/clamd.conf"} {
		paths, _ := filepath.Glob(pattern) // the patterns are good
		for _, path := range paths {
			if text := readConfiguration(path); text != "" {
				texts = append(texts, text)
			}
		}
	}
	return c.mostBy(texts)
}

// mostBy is Most by the texts of configurations.
func (c *clamd) mostBy(texts []string) (most int) {
	for _, text := range texts {
		keys := readKeys(text)
		for _, a := range c.addresses {
			if !a.servedBy(keys) {
				continue
			}
			queue, err := strconv.Atoi(keys["MaxQueue"])
			if err != nil || queue <= 0 {
				queue = defaultQueue
			}
			if n := max(1, queue/shareOfQueue); most == 0 || n < most {
				most = n
			}
		}
	}
	return most
}

// readConfiguration returns the text of a configuration, or "" if it cannot be read.
func readConfiguration(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return ""
	}
	return string(text)
}

// readKeys returns the first value of each key.
func readKeys(text string) map[string]string {
	keys := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if _, is := keys[key]; !is && key != "" && key[0] != '#' {
			keys[key] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return keys
}

// servedBy reports whether the clamd with these keys listens at the address.
func (a *address) servedBy(keys map[string]string) bool {
	if a.network == "unix" {
		return keys["LocalSocket"] == a.at
	}
	host, port, err := net.SplitHostPort(a.at)
	if err != nil || port != keys["TCPSocket"] {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var _ scan.Bounded = (*clamd)(nil)
