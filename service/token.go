// SPDX-License-Identifier: Apache-2.0

package service

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	tokenFile  = "admin.token"
	listenFile = "admin.listen" // where the running service listens, in the form of [admin] listen
)

// noteListen writes to the state folder where the service listens, for people and for the
// command of older versions.
func noteListen(state string, e endpoint) error {
	path := filepath.Join(state, listenFile)
	if e == (endpoint{}) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove note of address: %w", err)
		}
		return nil
	}
	if err := replaceFile(path, e.String()+"\n", 0o640); err != nil {
		return fmt.Errorf("note address: %w", err)
	}
	return nil
}

// openToken returns the token in the state folder: 32 random bytes in hex. If it is
// missing openToken makes it. `watch` and `push` share one.
func openToken(state string) (string, error) {
	if err := os.MkdirAll(state, 0o750); err != nil {
		return "", fmt.Errorf("make state folder: %w", err)
	}
	path := filepath.Join(state, tokenFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return readToken(state)
	}
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	token := hex.EncodeToString(secret)
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write token: %w", errors.Join(err, os.Remove(path)))
	}
	return token, nil
}

// readToken reads the token. The error is not nil for a link, or for a token that is not
// 64 hex digits.
func readToken(state string) (string, error) {
	path := filepath.Join(state, tokenFile)
	token, err := readPlain(path)
	if errors.Is(err, errNotPlain) {
		return "", fmt.Errorf("read token: %w: remove it and start the service again", err)
	}
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if raw, err := hex.DecodeString(token); err != nil || len(raw) != 32 {
		return "", fmt.Errorf("read token: %s does not hold 64 hex digits: remove it and start the service again", path)
	}
	return token, nil
}
