// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/certpush/certpush/pipeline"
)

const (
	noteFile   = "admin.door" // what the running process notes of its doors; that of `push` ends in .push
	socketFile = "admin.sock" // the socket of the command's own orders; that of `push` ends in .push
)

// note tells at which doors a process takes the command's orders. The process writes it
// into the state folder while it holds the lock there. The command asks nobody else.
type note struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket,omitempty"` // relative to the state folder if it lies in there
	Listen string `json:"listen,omitempty"` // HOST:PORT, where peers of a socket are not known
}

// suffix returns what the names of the files of a half end in. `watch` and `push` may
// share a state folder.
func suffix(half pipeline.Half) string {
	if half == pipeline.ConsumerOnly {
		return ".push"
	}
	return ""
}

// save writes n into the state folder.
func (n note) save(state string, half pipeline.Half) error {
	if rel, err := filepath.Rel(state, n.Socket); n.Socket != "" && err == nil && filepath.IsLocal(rel) {
		n.Socket = filepath.ToSlash(rel)
	}
	text, err := json.Marshal(n)
	if err == nil {
		err = replaceFile(filepath.Join(state, noteFile+suffix(half)), string(text)+"\n", 0o640)
	}
	if err != nil {
		return fmt.Errorf("note admin socket: %w", err)
	}
	return nil
}

// readNote reads the note of a half. The error wraps fs.ErrNotExist if there is none.
func readNote(state string, half pipeline.Half) (n note, err error) {
	text, err := readPlain(filepath.Join(state, noteFile+suffix(half)))
	if err != nil {
		return n, fmt.Errorf("read note of the service: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return n, fmt.Errorf("read note of the service: %w", err)
	}
	if n.Socket != "" && !filepath.IsAbs(n.Socket) {
		n.Socket = filepath.Join(state, filepath.FromSlash(n.Socket))
	}
	return n, nil
}

// replaceFile replaces the small file at path. A link at path is replaced and not
// followed, and no reader sees half of the text.
func replaceFile(path, text string, perm fs.FileMode) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// With O_EXCL no link at tmp is followed.
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// maxPlain is how many bytes of a small file are read.
const maxPlain = 4 << 10

// errNotPlain is the error of readPlain for a link and for anything else that is not a
// regular file.
var errNotPlain = errors.New("it is not a regular file")

// readPlain reads a small file. It follows no link at path.
func readPlain(path string) (string, error) {
	f, err := openPlain(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %w", path, errNotPlain)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPlain))
	return strings.TrimSpace(string(text)), err
}
