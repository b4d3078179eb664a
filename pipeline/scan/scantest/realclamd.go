// SPDX-License-Identifier: Apache-2.0

package scantest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RealClamd is a running clamd with a signature database of its own. It finds EICAR at
// any offset as "Lab.Eicar.Body.UNOFFICIAL", and a text that holds Marker as
// "Lab.Marker.UNOFFICIAL".
type RealClamd struct {
	UnixAddr, TCPAddr string // as a scanner's configuration has them

	t    testing.TB
	dir  string
	path string // of the program
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
}

// Marker is a harmless text that RealClamd finds as Lab.Marker.
const Marker = "certpush-test-signature-1"

// Signatures is the database of a RealClamd.
type Signatures int

// The databases. Each of them knows Marker.
const (
	Anywhere Signatures = iota // EICAR at any offset, and by its hash
	Official                   // EICAR at offset 0 of a file or member, as ClamAV's own database knows it
	HashOnly                   // EICAR by the hash of its 68 bytes
	OwnOnly                    // not EICAR
)

const startWait = 20 * time.Second

// Clamd starts the real clamd, which ends with the test. Lines such as "StreamMaxLength
// 1M" go into its configuration, in place of a default for the same key. If clamd is
// not installed the test is skipped; with CI=true it fails.
func Clamd(t testing.TB, lines ...string) *RealClamd {
	t.Helper()
	return ClamdOf(t, Anywhere, lines...)
}

// ClamdOf is Clamd with another database.
func ClamdOf(t testing.TB, signatures Signatures, lines ...string) *RealClamd {
	t.Helper()
	if !clamdRuns {
		t.Skip("Debian's clamd does not run on this system")
	}
	path, err := exec.LookPath("clamd")
	if err != nil {
		path = "/usr/sbin/clamd"
		_, err = os.Stat(path)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("clamd is not installed: install clamav-daemon")
		}
		t.Skip("clamd is not installed")
	}
	c := &RealClamd{t: t, dir: shortDir(t), path: path}
	c.configure(signatures, lines)
	c.start()
	t.Cleanup(c.Kill)
	return c
}

// configure writes the signatures and the configuration.
func (c *RealClamd) configure(signatures Signatures, lines []string) {
	c.t.Helper()
	port := freePort(c.t)
	socket := filepath.Join(c.dir, "clamd.sock")
	c.UnixAddr, c.TCPAddr = "unix:"+socket, "tcp:127.0.0.1:"+port
	keys := []string{
		"Foreground yes", "LogFile " + filepath.Join(c.dir, "clamd.log"), "LogTime yes",
		"DatabaseDirectory " + filepath.Join(c.dir, "db"), "TemporaryDirectory " + filepath.Join(c.dir, "tmp"),
		"LocalSocket " + socket, "LocalSocketMode 666", "FixStaleSocket yes",
		"TCPAddr 127.0.0.1", "TCPSocket " + port, "MaxThreads 10", "MaxQueue 100",
		"StreamMaxLength 100M", "MaxFileSize 100M", "MaxScanSize 400M", "ReadTimeout 120",
		"CommandReadTimeout 30", "SelfCheck 600", "ConcurrentDatabaseReload yes", "AlertExceedsMax no",
	}
	set := map[string]bool{}
	for _, l := range lines {
		set[strings.Fields(l)[0]] = true
	}
	for _, k := range keys {
		if !set[strings.Fields(k)[0]] {
			lines = append(lines, k)
		}
	}
	c.write("clamd.conf", strings.Join(lines, "\n")+"\n")
	c.Load(signatures)
	if err := os.Mkdir(filepath.Join(c.dir, "tmp"), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

// Load replaces the database. A running clamd takes it over at its next start.
func (c *RealClamd) Load(signatures Signatures) {
	c.t.Helper()
	eicar := EICAR()
	hash, body := fmt.Sprintf("%x:%d:Lab.Eicar.Hash\n", sha256.Sum256(eicar), len(eicar)), ""
	switch signatures {
	case Anywhere:
		body = fmt.Sprintf("Lab.Eicar.Body:0:*:%x\n", eicar)
	case Official:
		body = fmt.Sprintf("Lab.Eicar.Body:0:0:%x\n", eicar)
	case OwnOnly:
		hash = "0000000000000000000000000000000000000000000000000000000000000000:1:Lab.Nothing\n"
	}
	c.write("db/lab.hsb", hash)
	c.write("db/lab.ndb", fmt.Sprintf("%sLab.Marker:0:*:%x\n", body, Marker))
}

// Learn adds a signature for files that hold text, and lets the running clamd load it.
func (c *RealClamd) Learn(text string) {
	c.t.Helper()
	c.write(fmt.Sprintf("db/learned-%x.ndb", text[max(0, len(text)-8):]), fmt.Sprintf("Lab.Learned:0:*:%x\n", text))
	network, at, _ := strings.Cut(c.UnixAddr, ":")
	conn, err := net.Dial(network, at)
	if err == nil {
		if _, err = conn.Write([]byte("zRELOAD\x00")); err == nil {
			_, err = io.ReadAll(conn)
		}
		conn.Close()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Burden adds signatures of n files that nobody has, so that a load of the database takes
// longer. A running clamd takes them over at its next start.
func (c *RealClamd) Burden(n int) {
	c.t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%x:%d:Lab.Nobody.%d\n", sha256.Sum256([]byte(strconv.Itoa(i))), i+1, i)
	}
	c.write("db/burden.hsb", text.String())
}

// Temporary returns the path of its TemporaryDirectory.
func (c *RealClamd) Temporary() string { return filepath.Join(c.dir, "tmp") }

func (c *RealClamd) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// start runs clamd and waits until both sockets take connections.
func (c *RealClamd) start() {
	c.t.Helper()
	c.cmd = exec.Command(c.path, "-c", filepath.Join(c.dir, "clamd.conf"))
	c.gone = make(chan struct{})
	if err := c.cmd.Start(); err != nil {
		c.t.Fatalf("start clamd: %v", err)
	}
	go func(cmd *exec.Cmd, gone chan struct{}) {
		defer close(gone)
		_ = cmd.Wait() // an error: most tests kill it
	}(c.cmd, c.gone)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	late := time.After(startWait)
	for !c.listens() {
		select {
		case <-look.C:
		case <-c.gone:
			c.t.Fatalf("start clamd: it ended:\n%s", c.Log())
		case <-late:
			c.t.Fatalf("start clamd: not ready:\n%s", c.Log())
		}
	}
}

func (c *RealClamd) listens() bool {
	for _, text := range []string{c.UnixAddr, c.TCPAddr} {
		network, at, _ := strings.Cut(text, ":")
		conn, err := net.Dial(network, at)
		if err != nil {
			return false
		}
		conn.Close()
	}
	return true
}

// Log returns the text that clamd has logged so far.
func (c *RealClamd) Log() string {
	text, err := os.ReadFile(filepath.Join(c.dir, "clamd.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// PID returns the number of the running process.
func (c *RealClamd) PID() int { return c.cmd.Process.Pid }

// Kill ends clamd at once, as kill -9 does, and waits until it is gone.
func (c *RealClamd) Kill() {
	_ = c.cmd.Process.Kill() // it may be gone already
	<-c.gone
}

// Restart ends clamd as Kill does and starts it again at the same addresses.
func (c *RealClamd) Restart() {
	c.t.Helper()
	c.Kill()
	c.start()
}

// Stop halts clamd (SIGSTOP). The system still takes connections, and nothing is
// answered.
func (c *RealClamd) Stop() {
	c.t.Helper()
	if err := pause(c.cmd.Process); err != nil {
		c.t.Fatalf("stop clamd: %v", err)
	}
}

// Cont undoes Stop.
func (c *RealClamd) Cont() {
	c.t.Helper()
	if err := resume(c.cmd.Process); err != nil {
		c.t.Fatalf("continue clamd: %v", err)
	}
}
