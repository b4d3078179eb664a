// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// certpush wrote the golden files when docs/formats.md was written. A test that fails
// here says that files of an older version are read in another way now. Do not change
// the golden file for that.
const formats = "../testdata/formats"

// goldenState returns a folder with a copy of a golden file, and its text.
func goldenState(t *testing.T, name string) (state string, text []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(formats, name))
	if err != nil {
		t.Fatal(err)
	}
	state = t.TempDir()
	if err := os.WriteFile(filepath.Join(state, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return state, text
}

func TestFormatOfToken(t *testing.T) {
	state, text := goldenState(t, tokenFile)
	token, err := openToken(state)
	if want := "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"; err != nil || token != want {
		t.Errorf("%q, %v, want %q", token, err, want)
	}
	fresh := t.TempDir()
	if token, err = openToken(fresh); err != nil {
		t.Fatal(err)
	}
	wrote, err := os.ReadFile(filepath.Join(fresh, tokenFile))
	if err != nil || string(wrote) != token+"\n" || len(wrote) != len(text) || strings.Trim(token, "0123456789abcdef") != "" {
		t.Errorf("%q, %v", wrote, err)
	}
}

func TestFormatOfListen(t *testing.T) {
	_, text := goldenState(t, listenFile)
	state := t.TempDir()
	if err := noteListen(state, endpoint{"tcp", "127.0.0.1:9440"}); err != nil {
		t.Fatal(err)
	}
	if wrote, err := os.ReadFile(filepath.Join(state, listenFile)); err != nil || !bytes.Equal(wrote, text) {
		t.Errorf("%q, %v, want %q", wrote, err, text)
	}
}

func TestFormatOfNote(t *testing.T) {
	state, text := goldenState(t, noteFile)
	n, err := readNote(state, Both)
	if want := (note{PID: 4711, Socket: filepath.Join(state, socketFile), Listen: "127.0.0.1:9440"}); err != nil || n != want {
		t.Fatalf("%+v, %v, want %+v", n, err, want)
	}
	if err := n.save(state, Both); err != nil {
		t.Fatal(err)
	}
	if wrote, err := os.ReadFile(filepath.Join(state, noteFile)); err != nil || !bytes.Equal(wrote, text) {
		t.Errorf("%q, %v, want %q", wrote, err, text)
	}
}
