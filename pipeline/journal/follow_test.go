// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBuffer is a log that two goroutines use.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(words string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), words)
}

// TestAFolderThatCannotBeWatched is looked at again and again, and watched as soon as that
// can be done. Both is said once.
func TestAFolderThatCannotBeWatched(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal") // not there, so the system gives no watch
	log := &logBuffer{}
	calls := make(chan struct{}, 1000)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- listen(ctx, dir, slog.New(slog.NewTextHandler(log, nil)), func() { calls <- struct{}{} })
	}()
	late := time.After(5 * time.Minute)
	for range 6 { // more than between two attempts to watch it
		select {
		case <-calls:
		case <-late:
			t.Fatal("it is not looked at")
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for log.count("watched again") == 0 {
		select {
		case <-calls:
		case <-late:
			t.Fatal("it is not watched again")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n, m := log.count("cannot be watched"), log.count("watched again"); n != 1 || m != 1 {
		t.Errorf("said %d and %d times", n, m)
	}
}
