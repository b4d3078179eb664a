// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

// goldenFile returns a file that certpush wrote when docs/formats.md was written. If a
// test fails here, this version reads files of an older one differently, or writes
// files that an older one cannot read. Do not change the golden file for that.
func goldenFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../testdata/formats", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFormatOfCache: each line of the golden file is a key and its value, in hex.
func TestFormatOfCache(t *testing.T) {
	at, sum := time.Unix(1795391999, 123456789), [32]byte([]byte("SHA-256 is of thirty-two bytes.."))
	want := []scan.Answer{{Verdict: scan.Malicious, Signature: "Eicar-Test-Signature"}, {Verdict: scan.Clean}, {Verdict: scan.Clean, Address: "tcp:10.0.0.5:3310"}}
	lines := strings.Split(strings.TrimSpace(goldenFile(t, "cache.txt")), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range want {
		key := cacheKey("clamav", "ClamAV 1.4.6/27001/Mon Nov 23 10:00:00 2026", sum)
		if got := hex.EncodeToString(key) + " " + hex.EncodeToString(encodeCached(at, w)); got != lines[i] {
			t.Errorf("%s\nwant\n%s", got, lines[i])
		}
		_, value, _ := strings.Cut(lines[i], " ")
		b, err := hex.DecodeString(value)
		if when, got, ok := decodeCached(b); err != nil || !ok || !when.Equal(at) || !reflect.DeepEqual(got, w) {
			t.Errorf("%v, %+v, %t, %v, want %+v", when, got, ok, err, w)
		}
		sum[0]++
	}
}

// TestFormatOfWhatWasSaidOfAFile: the last line of the golden file.
func TestFormatOfWhatWasSaidOfAFile(t *testing.T) {
	at, sum := time.Unix(1795391999, 123456789), [32]byte([]byte("SHA-256 is of thirty-two bytes.."))
	j := Judged{"ClamAV 1.4.6/27001/Mon Nov 23 10:00:00 2026", sum, scan.Answer{Verdict: scan.Malicious, Signature: "Eicar-Test-Signature", Address: "tcp:10.0.0.5:3310"}}
	golden := strings.TrimSpace(goldenFile(t, "said.txt"))
	if got := hex.EncodeToString(fileKey("clamav", "path 68 /srv/samples/a.exe")) + " " + hex.EncodeToString(encodeFile(at, j)); got != golden {
		t.Errorf("%s\nwant\n%s", got, golden)
	}
	_, text, _ := strings.Cut(golden, " ")
	b, err := hex.DecodeString(text)
	if v, ok := decodeValue(b); err != nil || !ok || !v.file || !v.at.Equal(at) || !reflect.DeepEqual(Judged{v.key, v.sum, v.answer}, j) {
		t.Errorf("%+v, %t, %v", v, ok, err)
	}
	if _, _, ok := decodeCached(b); ok {
		t.Error("it is taken for a verdict of the cache")
	}
}
