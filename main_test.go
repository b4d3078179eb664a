// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"certpush": main})
}

// TestScript runs the command line as an operator would. The scripts may use
//
//	exit CODE PROGRAM ARG...           run it and want this exit code; its output is in stdout and stderr
//	await [-N] REGEXP FILE             wait until FILE has REGEXP, N times
//	await [-N] REGEXP COMMAND ARG...   or the output of exec or get, which is run again and again
//	expand FILE...                     put variables into FILE, and let only its owner read it
//	hostile FILE TEXT                  write TEXT to FILE, whose name is a quoted Go string
//	eicar FILE                         write the EICAR test file
//	freeport VAR                       VAR is a port; it and the next one are free on loopback
//	get, post ADDRESS PATH [HEADER]... an HTTP request to HOST:PORT or unix:/path: its status and body are stdout
//	scantest real|fake|mute VAR        start a clamd, VAR is its address; if no real one is installed the script is skipped
//	inits ALL BYTES OURS BYTES PROGRAM ARG...
//	                                   of the initialisation that GODEBUG=inittrace=1 lists, all packages together make
//	                                   at most ALL allocations of BYTES bytes, each package of ours at most OURS
//	send SIGNAL VERB                   TERM or HUP to each certpush in the background that runs VERB
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			// The scanner of a script ends with the script.
			e.Values[theTest{}] = e.T()
			// By default the race detector delays each exit for a second.
			e.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=10"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "configured": // this machine has its own configuration
				_, err := os.Stat("/etc/certpush.toml")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "eicar": eicar, "exit": exit, "expand": expand, "freeport": freeport, "hostile": hostile,
			"inits": inits,
			"get":   get, "post": post, "scantest": scanner, "send": send,
		},
	})
}

// theTest is the key for the testing.TB of a script.
type theTest struct{}

// need fails the script unless it gave at least n arguments and did not negate the
// command.
func need(ts *testscript.TestScript, neg bool, args []string, n int) {
	if neg || len(args) < n {
		ts.Fatalf("see TestScript for how to write this line")
	}
}

func exit(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2)
	if code := run(ts, args[1:]); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d", code)
	}
}

func run(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	ts.Check(err)
	return 0
}

// inits limits what initialisation allocates: in the whole program, and in each package
// of ours. It does not measure time, because a busy machine adds time that is not ours.
func inits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 5)
	var most [4]int
	for i := range most {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		most[i] = n
	}
	ts.Check(ts.Exec(args[4], args[5:]...))
	var allocs, bytes int
	told := regexp.MustCompile(`(?m)^init (\S+) @.*, ([0-9]+) bytes, ([0-9]+) allocs`).FindAllStringSubmatch(ts.ReadFile("stderr"), -1)
	if len(told) == 0 {
		ts.Fatalf("nothing is told of initialisation")
	}
	for _, t := range told {
		b, err := strconv.Atoi(t[2])
		ts.Check(err)
		a, err := strconv.Atoi(t[3])
		ts.Check(err)
		allocs, bytes = allocs+a, bytes+b
		if strings.HasPrefix(t[1], module) && (a > most[2] || b > most[3]) {
			ts.Fatalf("initialisation of %s takes %d allocations and %d bytes: make it where it is used", t[1], a, b)
		}
	}
	ts.Logf("initialisation takes %d allocations and %d bytes", allocs, bytes)
	if allocs > most[0] || bytes > most[1] {
		ts.Fatalf("see which package takes them, with GODEBUG=inittrace=1")
	}
}

// awaitLimit is much longer than any wait should take. A wait that reaches it fails the
// test.
const awaitLimit = 90 * time.Second

func await(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2)
	count := 1
	if n, err := strconv.Atoi(args[0]); err == nil && n < 0 {
		count, args = -n, args[1:]
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(awaitLimit)
	for {
		text := read(ts, args[1:])
		found := len(re.FindAllString(text, -1))
		if found == count {
			return
		}
		select {
		case <-look.C:
		case <-late:
			ts.Fatalf("%q is found %d times, not %d, in\n%s", args[0], found, count, text)
		}
	}
}

// read returns the text of a file or the output of a command. An error is returned as
// text.
func read(ts *testscript.TestScript, source []string) string {
	switch source[0] {
	case "exec":
		run(ts, source[1:])
		return ts.ReadFile("stdout") + ts.ReadFile("stderr")
	case "get":
		text, err := request(http.MethodGet, source[1:])
		if err != nil {
			return err.Error()
		}
		return text
	}
	text, err := os.ReadFile(ts.MkAbs(source[0]))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1)
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
		ts.Check(os.Chmod(ts.MkAbs(name), 0o600))
	}
}

func eicar(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), scantest.EICAR(), 0o644))
}

func hostile(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2)
	name, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(name), []byte(args[1]), 0o644))
}

func freeport(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1)
	port, err := freePorts()
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(port))
}

// freePorts returns the first of two consecutive free ports: `push` listens on the
// second one. They are below the ports that systems give to connections, because other
// tests make many connections.
func freePorts() (port int, err error) {
	for range 100 {
		port = 10_000 + rand.IntN(20_000)
		var all []net.Listener
		for i := range 2 {
			l, listening := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+i))
			if err = listening; err != nil {
				break
			}
			all = append(all, l)
		}
		for _, l := range all {
			l.Close()
		}
		if err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find two free ports in a row: %w", err)
}

func get(ts *testscript.TestScript, neg bool, args []string)  { ask(ts, neg, http.MethodGet, args) }
func post(ts *testscript.TestScript, neg bool, args []string) { ask(ts, neg, http.MethodPost, args) }

func ask(ts *testscript.TestScript, neg bool, method string, args []string) {
	need(ts, neg, args, 2)
	text, err := request(method, args)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), text)
}

// request sends an HTTP request to the address args[0] for the path args[1]. The other
// args are headers, such as "Name: value".
func request(method string, args []string) (string, error) {
	network, at := "tcp", args[0]
	if path, is := strings.CutPrefix(at, "unix:"); is {
		network, at = "unix", path
	}
	host := at
	if network == "unix" {
		host = "certpush"
	}
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+host+args[1], nil)
	if err != nil {
		return "", err
	}
	for _, header := range args[2:] {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, at)
	}}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%d\n%s", answer.StatusCode, body), err
}

func scanner(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2)
	t := ts.Value(theTest{}).(testing.TB)
	if args[0] == "real" {
		ts.Setenv(args[1], scantest.Clamd(t).TCPAddr)
		return
	}
	s := scantest.Start(t, "tcp")
	s.SetFailOn("this sample fails")
	if args[0] == "mute" {
		s.Set(scantest.Mute)
	}
	ts.Setenv(args[1], s.Addr())
}

func send(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2)
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	sent := false
	for _, cmd := range ts.BackgroundCmds() {
		if slices.Index(cmd.Args, args[1]) == 1 {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			sent = true
		}
	}
	if !sent {
		ts.Fatalf("no certpush %s in the background", args[1])
	}
}
