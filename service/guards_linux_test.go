// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// The system tells which user connects, not the peer. Without a token our own user may
// give orders, and another user may not.
func TestPeerOfTheUnixSocketIsAskedOfTheSystem(t *testing.T) {
	dir := t.TempDir()
	e := endpoint{"unix", filepath.Join(dir, "admin.sock")}
	l, err := e.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	orders := 0
	a := testAdmin(&orders)
	a.unix = true
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c := &client{state: dir}
	if _, err := c.askSocket(t.Context(), e.address, "POST", "/api/v1/sweep"); err != nil || orders != 1 {
		t.Errorf("our own user: %v; orders %d", err, orders)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	for path := dir; path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(e.address, 0o666); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string)
	go func() {
		// The thread ends with its goroutine.
		runtime.LockOSThread()
		answer <- askAs(e.address, 65534)
	}()
	if got := <-answer; !strings.HasPrefix(got, "HTTP/1.1 401 ") || orders != 1 {
		t.Errorf("another user: %.100q; orders %d", got, orders)
	}
}

// A listener that runs as another user than root and the owner of the state gets no
// request.
func TestAStrangersSocketIsNotAsked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	state := t.TempDir()
	for path := state; path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := (note{PID: 1, Socket: filepath.Join(state, socketFile)}).save(state, Both); err != nil {
		t.Fatal(err)
	}
	listening, heard, done := make(chan error), make(chan string, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the thread ends with its goroutine
		defer close(done)
		heard <- listenAs(filepath.Join(state, socketFile), 65534, listening)
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	c := &client{state: state, limit: askLimit}
	_, err := c.ask(t.Context(), "POST", "/api/v1/sweep")
	var nobody silence
	if !errors.As(err, &nobody) || !errors.Is(err, errStranger) {
		t.Errorf("got %v", err)
	}
	if text := <-heard; text != "" {
		t.Errorf("the stranger heard %q", text)
	}
	<-done
	// The same listener is asked if the state is its own.
	if err := knownUser(65534, state); err == nil {
		t.Error("another user is known")
	}
	if err := os.Chown(state, 65534, -1); err != nil {
		t.Fatal(err)
	}
	if err := knownUser(65534, state); err != nil {
		t.Error(err)
	}
}

// listenAs listens as another user, and returns what the first client sends.
func listenAs(socket string, uid uintptr, listening chan<- error) string {
	const same = ^uintptr(0)
	if _, _, no := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uid, same); no != 0 {
		listening <- no
		return ""
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		defer syscall.Close(fd)
		err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket})
	}
	if err == nil {
		err = syscall.Listen(fd, 1)
	}
	listening <- err
	if err != nil {
		return ""
	}
	conn, _, err := syscall.Accept(fd)
	if err != nil {
		return errText(err)
	}
	defer syscall.Close(conn)
	text := make([]byte, 1024)
	n, _ := syscall.Read(conn, text) // an error says that the client hung up
	return string(text[:max(n, 0)])
}

// askAs sends an order as another user. It uses only system calls, because they stay on
// this thread.
func askAs(socket string, uid uintptr) string {
	const same = ^uintptr(0)
	if _, _, no := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uid, same); no != 0 {
		return no.Error()
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer syscall.Close(fd)
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		return err.Error()
	}
	if _, err := syscall.Write(fd, []byte("POST /api/v1/sweep HTTP/1.1\r\nHost: certpush\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")); err != nil {
		return err.Error()
	}
	text := make([]byte, 1024)
	n, err := syscall.Read(fd, text)
	return string(text[:max(n, 0)]) + errText(err)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// No answer holds the token, and no line of the log does, at any level.
func TestTokenIsNeverTold(t *testing.T) {
	var told bytes.Buffer
	orders := 0
	a := testAdmin(&orders)
	a.log = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a.sweep = func(string) error { return errors.New("no") }
	for _, method := range []string{"GET", "POST", "PUT"} {
		for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/sweep", "/api/v1/sweep?token=" + testToken, "/" + testToken} {
			r := httptest.NewRequest(method, path, strings.NewReader(testToken))
			r.Host = "127.0.0.1:9440"
			r.Header.Set("Authorization", "Bearer "+testToken)
			w := httptest.NewRecorder()
			a.handler().ServeHTTP(w, r)
			answer := w.Result()
			if err := answer.Write(&told); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if answer.StatusCode == http.StatusOK && method == "PUT" {
				t.Errorf("%s %s is answered", method, path)
			}
		}
	}
	if told.Len() == 0 || strings.Contains(told.String(), testToken) {
		t.Errorf("%s", told.String())
	}
}

func TestUnixSocketTrustsOurOwnUserOnly(t *testing.T) {
	dir := t.TempDir()
	e := endpoint{"unix", filepath.Join(dir, "admin.sock")}
	l, err := e.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(e.address); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	// A socket that answers stays.
	if _, err := e.listen(t.Context()); err == nil {
		t.Error("a served socket is replaced")
	}
	orders := 0
	a := testAdmin(&orders)
	a.unix = true
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l) }()
	if _, err := (&client{state: dir}).askSocket(t.Context(), e.address, "POST", "/api/v1/sweep"); err != nil || orders != 1 {
		t.Errorf("%v; orders %d", err, orders)
	}
	var no *refusal
	if _, err := (&client{state: dir}).askSocket(t.Context(), e.address, "POST", "/api/v1/reload"); !errors.As(err, &no) || no.text != "no" {
		t.Errorf("%v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTokenIsForItsOwnerOnly(t *testing.T) {
	state := t.TempDir()
	if _, err := openToken(state); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(state, tokenFile)); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}
