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
	"strings"
)

const tokenFile = "admin.token"

// openToken returns the token in the state folder and makes it where it is
// missing: 32 random bytes in hex. `watch` and `push` share one.
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

// readToken reads the token. A link or a token of another form is refused.
func readToken(state string) (string, error) {
	path := filepath.Join(state, tokenFile)
	st, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("read token: %s is not a regular file: remove it and start the service again", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if raw, err := hex.DecodeString(token); err != nil || len(raw) != 32 {
		return "", fmt.Errorf("read token: %s does not hold 64 hex digits: remove it and start the service again", path)
	}
	return token, nil
}
