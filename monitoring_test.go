// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestMonitoringNamesMetricsThatAreThere: the rules and the dashboard in the package
// ask only for metrics that exist, and the dashboard asks for each of them.
func TestMonitoringNamesMetricsThatAreThere(t *testing.T) {
	there := map[string]bool{}
	// We look for names in the sources, because a metric that has counted nothing yet
	// is not shown.
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, m := range regexp.MustCompile(`"(certpush_[a-z_]+)"|(?:counter|span)\("([a-z_]+)"`).FindAllStringSubmatch(s.text, -1) {
			if m[2] != "" {
				there["certpush_"+m[2]] = true
			} else {
				there[m[1]] = true
			}
		}
	}
	if len(there) < 15 {
		t.Fatalf("the sources name %d metrics", len(there))
	}
	shown := map[string]bool{}
	for _, path := range []string{"packaging/monitoring/certpush.rules.yml", "packaging/monitoring/certpush.dashboard.json"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bcertpush_[a-z_]+`).FindAllString(string(text), -1) {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				name = strings.TrimSuffix(name, suffix)
			}
			if !there[name] {
				t.Errorf("%s asks for %s", path, name)
			}
			if strings.HasSuffix(path, ".json") {
				shown[name] = true
			}
		}
		if strings.HasSuffix(path, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", path)
		}
	}
	for name := range there {
		if !shown[name] {
			t.Errorf("the dashboard shows no %s", name)
		}
	}
	reference, err := os.ReadFile("docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range there {
		if !strings.Contains(string(reference), "`"+name) {
			t.Errorf("docs/reference.md does not list %s", name)
		}
	}
}
