// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// written writes text as a configuration file and returns its path. Each absolute path
// in the text is written as this system does.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certpush.toml")
	rootedKeys := regexp.MustCompile(`(?m)^(\s*(?:path|state|to|lists)\s*=\s*\[?["'])/`)
	text = rootedKeys.ReplaceAllString(text, "${1}"+filepath.VolumeName(path)+"/")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rooted returns an absolute path as this system writes it.
func rooted(path string) string {
	return filepath.FromSlash(filepath.VolumeName(os.TempDir()) + path)
}

const short = `[[watch]]
path = "/srv/samples"

[scanner.clamav]
type    = "clamd"
address = "unix:/run/clamav/clamd.ctl"
`

func TestEveryKeyWithItsDefaultSaysWhatTheShortFileSays(t *testing.T) {
	a, err := Load(Flags{File: written(t, exampleConfig(t))})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(Flags{File: written(t, short)})
	if err != nil {
		t.Fatal(err)
	}
	// The pipeline fills in the values that the example writes out.
	b.Pipeline.Trees[0].Name, b.Pipeline.Trees[0].Include = "samples", []string{"**"}
	b.Pipeline.Scanners[0].MaxSize = 25 << 20
	b.Pipeline.State = rooted("/var/lib/certpush")
	a.File, b.File = "", ""
	if !reflect.DeepEqual(a, b) {
		t.Errorf("example:\n%+v\nshort:\n%+v", a, b)
	}
	want := Settings{
		Listen: "127.0.0.1:9440", Log: LogSettings{To: "auto"},
		Pipeline: pipeline.Config{
			State: rooted("/var/lib/certpush"), Ledger: pipeline.Ledger{Sync: 10 * time.Millisecond, Keep: 400, Max: 20 << 30}, CopyMemory: 256 << 20,
			Trees: []pipeline.Tree{{
				Name: "samples", Path: rooted("/srv/samples"), Include: []string{"**"}, Settle: 500 * time.Millisecond, SettleLimit: time.Hour,
				MinSize: 1, Sweep: time.Hour, Adapts: true, Engine: "auto",
			}},
			Journal: pipeline.Journal{Dir: "journal", CutEvery: time.Minute, CutSize: 64 << 20, Keep: 1440, Max: 20 << 30, MinFree: 256 << 20},
			Scanners: []pipeline.Scanner{{
				Name: "clamav", Type: "clamd", Addresses: []string{"unix:/run/clamav/clamd.ctl"}, Queue: 1000, Timeout: 5 * time.Minute,
				Tries: 8, BackoffFirst: time.Second, BackoffMax: 5 * time.Minute, MaxSize: 25 << 20, Sight: 10 * time.Minute, SightDepth: 64 << 20,
			}},
		},
	}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("example:\n%+v\nwant:\n%+v", a, want)
	}
}

func TestZeroInTheFileIsNoLimitForThePipeline(t *testing.T) {
	s, err := Load(Flags{File: written(t, `
[[watch]]
path = "/srv/a"
min_size = "0"
max_size = "10 MiB"
sweep = "0"
settle = "0"
[journal]
min_free = "0"
sync = "100ms"
[scanner.c]
type = "clamd"
addresses = ["tcp:10.0.0.5:3310", "tcp:[::1]:3310"]
max_size = "0"
rate = "60/m"
canary = false
[scanner.b]
type = "hashlist"
lists = ["/etc/bad.sha256"]
[log]
level = "debug"
format = "json"
to = "/var/log/certpush/certpush.log"
`)})
	if err != nil {
		t.Fatal(err)
	}
	tree, c := s.Pipeline.Trees[0], s.Pipeline.Scanners[0]
	if tree.MinSize != -1 || tree.MaxSize != 10<<20 || tree.Sweep >= 0 || tree.Settle != 1 {
		t.Errorf("tree %+v", tree)
	}
	if s.Pipeline.Journal.MinFree != -1 || s.Pipeline.Journal.Sync != 100*time.Millisecond {
		t.Errorf("journal %+v", s.Pipeline.Journal)
	}
	if c.Name != "c" || len(c.Addresses) != 2 || c.MaxSize != -1 || c.Rate != (pipeline.Rate{N: 60, Per: time.Minute}) || c.Sight >= 0 {
		t.Errorf("scanner %+v", c)
	}
	if b := s.Pipeline.Scanners[1]; b.Name != "b" || len(b.Lists) != 1 {
		t.Errorf("scanner %+v", b)
	}
	if s.Log != (LogSettings{slog.LevelDebug, filepath.ToSlash(rooted("/var/log/certpush/certpush.log")), true}) {
		t.Errorf("log %+v", s.Log)
	}
}

func TestByteOrderMarkAndCRLFAreAccepted(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(short, "\n", "\r\n")
	if _, err := Load(Flags{File: written(t, text)}); err != nil {
		t.Error(err)
	}
	_, err := Load(Flags{File: written(t, text+"wrokers = 3\r\n")})
	if err == nil || !strings.Contains(err.Error(), ":7:1: scanner.clamav.wrokers: unknown key: did you mean `workers`?") {
		t.Error(err)
	}
}

func TestAllProblemsAreToldInOrder(t *testing.T) {
	_, err := Load(Flags{File: written(t, `stat = "/x"
[[watch]]
path = "relative"
setle = "1s"
[scanner.a]
type = "icap"
workers = 0
`)})
	var bad *ConfigError
	if !errors.As(err, &bad) || Code(err) != ExitConfig {
		t.Fatal(err)
	}
	var got []string
	for _, p := range bad.Problems {
		got = append(got, p.Key)
	}
	if want := []string{"stat", "watch[1].path", "watch[1].setle", "scanner.a.type", "scanner.a.workers"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFlagsOverruleTheFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Load(Flags{
		File: written(t, short), Trees: []string{dir + "/a", dir + "/b"}, JournalDir: dir + "/log", Address: "10.0.0.5:3310", Workers: 7, Queue: 9,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pipeline.Trees) != 2 || s.Pipeline.Trees[1].Path != filepath.Join(dir, "b") || s.Pipeline.Journal.Dir != filepath.Join(dir, "log") || s.Pipeline.State != defaultState() {
		t.Errorf("%+v", s.Pipeline)
	}
	want := []pipeline.Scanner{{Name: "clamd", Type: "clamd", Addresses: []string{"tcp:10.0.0.5:3310"}, Workers: 7, Queue: 9}}
	if !reflect.DeepEqual(s.Pipeline.Scanners, want) {
		t.Errorf("%+v, want %+v", s.Pipeline.Scanners, want)
	}
}

func TestWithoutAFileTheStateLiesBesideTheJournalOrHere(t *testing.T) {
	if _, err := os.Stat(defaultFile()); err == nil {
		t.Skip("this machine has a certpush.toml of its own")
	}
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(Flags{})
	if err != nil || s.Pipeline.State != filepath.Join(here, "certpush-state") || s.File != "" {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = Load(Flags{JournalDir: "log", Workers: 3})
	if err != nil || s.Pipeline.State != filepath.Join(here, "log", ".certpush") || s.Pipeline.Journal.Dir != filepath.Join(here, "log") {
		t.Errorf("%+v, %v", s, err)
	}
	if len(s.Pipeline.Scanners) != 1 || s.Pipeline.Scanners[0].Workers != 3 {
		t.Errorf("%+v", s.Pipeline.Scanners)
	}
	// The state must not lie in a tree: its journal would be pushed.
	for _, f := range []Flags{{Trees: []string{"."}}, {Trees: []string{"log"}, JournalDir: "log"}, {Trees: []string{"a", "a/b"}}, {Trees: []string{"a", "x/a"}}, {Address: "here"}} {
		if _, err := Load(f); Code(err) != ExitConfig || !strings.HasPrefix(err.Error(), "command line: -") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestAFileThatIsMissingOrNotToBeTrustedIsRefused(t *testing.T) {
	if _, err := Load(Flags{File: filepath.Join(t.TempDir(), "none.toml")}); Code(err) != ExitConfig {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(Flags{File: t.TempDir()}); Code(err) != ExitConfig {
		t.Errorf("folder: %v", err)
	}
	if _, err := Load(Flags{File: written(t, "# "+strings.Repeat("x", maxFile))}); Code(err) != ExitConfig {
		t.Errorf("huge: %v", err)
	}
}

// symlink makes a link, or skips the test if that is not possible: Windows asks for a
// right, and Wine reports success and makes no link.
func symlink(t *testing.T, to, path string) {
	t.Helper()
	err := os.Symlink(to, path)
	if err == nil {
		_, err = os.Lstat(path)
	}
	if err != nil {
		t.Skip("no symbolic links here:", err)
	}
}

// A tree's own path may be a link. The folder to which it leads counts.
func TestATreeThatLeadsToTheStateIsRefused(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	symlink(t, filepath.Join(dir, "real"), link)
	for _, text := range []string{
		fmt.Sprintf("state = '%s/real/state'\n[[watch]]\npath = '%s'\n", dir, link),
		fmt.Sprintf("state = '%s/state'\n[[watch]]\npath = '%s/real'\n[[watch]]\nname = 'b'\npath = '%s'\n", dir, dir, link),
	} {
		if _, err := Load(Flags{File: written(t, text)}); Code(err) != ExitConfig {
			t.Errorf("%s is accepted: %v", text, err)
		}
	}
}
