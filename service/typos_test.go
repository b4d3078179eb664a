// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTypos makes one mistake at a time. The error must name its place, its key and the
// next step.
func TestTypos(t *testing.T) {
	scanner := func(lines string) string { return "[scanner.c]\ntype = \"clamd\"\n" + lines }
	tree := func(lines string) string { return "[[watch]]\npath = '/srv/a'\n" + lines }
	clamd := func(lines string) string { return scanner("address = \"tcp:h:1\"\n" + lines) }
	for _, c := range []struct{ text, place, key, hint string }{
		// Unknown keys.
		{"stat = '/x'", "1:1", "stat", "did you mean `state`?"},
		{tree("setle = '1s'"), "3:1", "watch[1].setle", "did you mean `settle`?"},
		{tree("  exlude = []"), "3:3", "watch[1].exlude", "did you mean `exclude`?"},
		{tree("Sweep = '1h'"), "3:1", "watch[1].Sweep", "did you mean `sweep`?"},
		{tree("[[watch]]\npath = '/srv/b'\nstable = '1s'"), "5:1", "watch[2].stable", "did you mean `settle`?"},
		{clamd("threads = 4"), "4:1", "scanner.c.threads", "did you mean `workers`?"},
		{clamd("backoff = { frist = '1s' }"), "4:13", "scanner.c.backoff.frist", "did you mean `first`?"},
		{clamd("backoff.maxx = '1s'"), "4:1", "scanner.c.backoff.maxx", "did you mean `max`?"},
		{tree("state = '/x'"), "3:1", "watch[1].state", "belongs at the top of the file"},
		{"[journal]\nworkers = 3", "2:1", "journal.workers", "is a key of [scanner.NAME]"},
		{"[jurnal]\ndir = 'x'", "1:1", "jurnal", "did you mean `journal`?"},
		{"zzzzzz = 1", "1:1", "zzzzzz", "known at the top of the file are state, watch"},
		{"[admin]\n\"läsen\" = 'x'", "2:1", `admin."l\u00e4sen"`, "known here are listen"},
		{clamd("state = '/x'"), "4:1", "scanner.c.state", "belongs at the top of the file"},
		{"state ＝ '/x'", "1:7", "", "write '='"},
		{"state = “/x”", "1:9", "", "full-width or curly sign"},
		{clamd("canary = True"), "4:10", "", "write true or false, in small letters and without quotes"},
		{scanner("address = 'tcp:fe80::1:3310'"), "3:11", "scanner.c.address", `did you mean "tcp:[fe80::1]:3310"?`},
		{scanner("address = 'tcp:::1'"), "3:11", "scanner.c.address", `did you mean "tcp:[::1]:3310"?`},
		{"[admin]\nlisten = '::1:9440'", "2:10", "admin.listen", `write "[::1]:9440"`},
		{tree("include = ['/srv/a/x/*.exe']"), "3:12", "watch[1].include[1]", `did you mean "x/*.exe"?`},
		{tree("include = ['/x/*.exe']"), "3:12", "watch[1].include[1]", `did you mean "**/x/*.exe"?`},
		{tree("include = ['/x/**']"), "3:12", "watch[1].include[1]", `is a whole path, but globs are below the tree's path: did you mean "**/x/**"?`},
		{tree("include = ['C:/srv/a/x/**']"), "3:12", "watch[1].include[1]", `did you mean "x/**"?`},
		{tree("exclude = ['**', 'd:\\y\\*.exe']"), "3:18", "watch[1].exclude[2]", `did you mean "**/y/*.exe"?`},
		// Wrong shapes.
		{"watch = '/s'", "1:9", "watch", "write [[watch]] on a line of its own, and path = \"/s\""},
		{"[watch]\npath = '/s'", "1:1", "watch", "write [[watch]] with double brackets"},
		{"[[journal]]\ndir = 'x'", "1:1", "journal", "write [journal] with single brackets"},
		{"journal = 'x'", "1:11", "journal", "write [journal] on a line of its own"},
		{"[[scanner]]\ntype = 'clamd'", "1:1", "scanner", "write [scanner.NAME]"},
		{"[scanner]\ntype = 'clamd'", "2:8", "scanner.type", "each scanner has a name: write [scanner.NAME]"},
		{tree("include = '*.exe'"), "3:11", "watch[1].include", `write include = ["*.exe"]`},
		{clamd("backoff = '1s'"), "4:11", "scanner.c.backoff", `write { first = "1s", max = "5m" }`},
		{clamd("canary = 'no'"), "4:10", "scanner.c.canary", "not an absolute path"},
		{clamd("canary = 1"), "4:10", "scanner.c.canary", "a path is expected"},
		{clamd("sight = '1ms'"), "4:9", "scanner.c.sight", "too short"},
		{clamd("copy = 'big'"), "4:8", "scanner.c.copy", "write \"small\" or \"always\""},
		{clamd("sight_depth = '0'"), "4:15", "scanner.c.sight_depth", "\"full\""},
		{"[scanner.c]\ntype = 'discard'\nsight = '5m'", "3:1", "scanner.c.sight", "take the line out"},
		{"[log]\nlevel = 1", "2:9", "log.level", "write it in quotes"},
		{"state = 1", "1:9", "state", "write it in 'single quotes'"},
		// Bad values.
		{tree("settle = 250"), "3:10", "watch[1].settle", `write "250ms", "250s" or "250m"`},
		{tree("settle = '250'"), "3:10", "watch[1].settle", `write "250ms", "250s" or "250m"`},
		{tree("settle = '5 seconds'"), "3:10", "watch[1].settle", `did you mean "5s"?`},
		{tree("sweep = '1d'"), "3:9", "watch[1].sweep", `did you mean "24h"?`},
		{tree("settle_limit = '0'"), "3:16", "watch[1].settle_limit", `write for example "1h"`},
		{tree("settle = '-1s'"), "3:10", "watch[1].settle", "write it without the minus"},
		{tree("max_size = '25 MB'"), "3:12", "watch[1].max_size", `did you mean "25 MiB"?`},
		{tree("max_size = 1024"), "3:12", "watch[1].max_size", `write "1024 B", "1024 KiB" or "1024 MiB"`},
		{tree("min_size = '2 KiB'\nmax_size = '1 KiB'"), "4:12", "watch[1].max_size", "swap the two"},
		{tree("include = ['**', 'a[']"), "3:18", "watch[1].include[2]", "is not a glob"},
		{tree("exclude = [\n  # dots\n  '/.*',\n]"), "5:3", "watch[1].exclude[1]", `did you mean ".*"?`},
		{tree("engine = 'fsnotifyd'"), "3:10", "watch[1].engine", `unknown engine "fsnotifyd": did you mean "fsnotify"?`},
		{scanner("address = '10.0.0.5:3310'"), "3:11", "scanner.c.address", `did you mean "tcp:10.0.0.5:3310"?`},
		{scanner("address = '/run/clamd'"), "3:11", "scanner.c.address", `did you mean "unix:/run/clamd"?`},
		{scanner("address = 'tcp:host'"), "3:11", "scanner.c.address", `did you mean "tcp:host:3310"?`},
		{scanner("address = 'tcp:host:99999'"), "3:11", "scanner.c.address", "the port is not between 1 and 65535"},
		{scanner("addresses = ['tcp:h:1', 'tcp:h:1']"), "3:25", "scanner.c.addresses[2]", "take one out"},
		{scanner("address = 'tcp:h:1'\naddresses = ['tcp:h:2']"), "4:1", "scanner.c.addresses", "only one of the two"},
		{scanner(""), "1:1", "scanner.c", "address is missing"},
		{"[scanner.c]\naddress = 'tcp:h:1'", "1:1", "scanner.c", "type is missing"},
		{"[scanner.c]\ntype = 'icap'", "2:8", "scanner.c.type", "is not built yet: use one of clamd, hashlist, discard"},
		{"[scanner.c]\ntype = 'clamav'", "2:8", "scanner.c.type", `did you mean "clamd"?`},
		{"[scanner.h]\ntype = 'hashlist'\naddress = 'tcp:h:1'", "3:1", "scanner.h.address", "take the line out"},
		{clamd("lists = ['/x']"), "4:1", "scanner.c.lists", "only type hashlist has lists"},
		{"[scanner.h]\ntype = 'hashlist'\nlists = ['x']", "3:10", "scanner.h.lists[1]", "write it in full"},
		{"[scanner.\"a/b\"]\ntype = 'discard'", "1:1", `scanner."a/b"`, "use letters, digits"},
		{"[scanner.a]\ntype = 'discard'\n[scanner.A]\ntype = 'discard'", "3:1", "scanner.A", "differs from \"a\" in case only"},
		{clamd("workers = 0"), "4:11", "scanner.c.workers", "write 1 or more"},
		{clamd("workers = '4'"), "4:11", "scanner.c.workers", "write 4 without the quotes"},
		{clamd("tries = 1.5"), "4:9", "scanner.c.tries", "a whole number is expected"},
		{clamd("rate = 60"), "4:8", "scanner.c.rate", `write "60/s", "60/m" or "60/h"`},
		{clamd("rate = '60/min'"), "4:8", "scanner.c.rate", `"60/m"`},
		{"[scanner.c]\ntype = \"discard\"\ncache = '24h'", "3:9", "scanner.c.cache", "take the line out"},
		{clamd("backoff = { first = '1h' }"), "4:11", "scanner.c.backoff", "swap the two"},
		{"[journal]\nkeep = 0", "2:8", "journal.keep", "write 1 or more"},
		{"[journal]\nsync = \"60s\"", "2:8", "journal.sync", "name at most 10s"},
		{tree("sweep = \"often\""), "3:9", "watch[1].sweep", `"auto"`},
		{"[ledger]\nsync = \"2s\"", "2:8", "ledger.sync", "name at most 1s"},
		{"[ledger]\nsync = 10", "2:8", "ledger.sync", `"always"`},
		{"[journal]\nsync = 100", "2:8", "journal.sync", `"always"`},
		{"[journal]\ncut_size = '0'", "2:12", "journal.cut_size", "more than 0"},
		{"[admin]\nlisten = '0.0.0.0:9440'", "2:10", "admin.listen", "needs TLS"},
		{"[admin]\nlisten = 'localhost'", "2:10", "admin.listen", `write "127.0.0.1:9440"`},
		{"[admin]\nlisten = 'unix:sock'", "2:10", "admin.listen", "is not an absolute path"},
		{"[log]\nlevel = 'inof'", "2:9", "log.level", `did you mean "info"?`},
		{"[log]\nto = 'certpush.log'", "2:6", "log.to", "nor an absolute path"},
		// Paths.
		{"[[watch]]\nname = 'x'", "1:1", "watch[1]", "path is missing"},
		{"[[watch]]\npath = 'srv'", "2:8", "watch[1].path", "write it in full"},
		{"[[watch]]\npath = \"C:\\temp\\new\"", "2:8", "watch[1].path", "use 'single quotes'"},
		{"[[watch]]\npath = ''", "2:8", "watch[1].path", "the path is empty"},
		{tree("[[watch]]\npath = '/srv/a/'"), "4:8", "watch[2].path", "watched twice, here and as watch[1]"},
		{tree("[[watch]]\npath = '/srv/a/b'"), "4:8", "watch[2].path", "lies in the tree of watch[1]"},
		{tree("[[watch]]\npath = '/srv'"), "4:8", "watch[2].path", "lies in it"},
		{tree("[[watch]]\npath = '/mnt/a'"), "3:1", "watch[2].name", "give one of them another name"},
		{"state = '/srv/a/s'\n" + tree(""), "3:8", "watch[1].path", "would push its own files"},
		// Syntax.
		{"state = \"C:\\srv\"", "1:10", "", "use 'single quotes'"},
		{"state = '/a'\nstate = '/b'", "2:1", "", "take one of the two out"},
		{"state = /srv", "1:9", "", "put text, durations and sizes in quotes"},
		{"name = \"/srv\n[log]", "1:13", "", "close the quote or bracket"},
		{"[log\nlevel = 'x'", "2:1", "", "alone on a line"},
		{"s\x00t = 1", "1:2", "", ""},
		{"state = '\xff'", "1:9", "", "save the file as UTF-8"},
	} {
		path := written(t, c.text)
		_, err := Load(Flags{File: path})
		var bad *ConfigError
		if !errors.As(err, &bad) {
			t.Errorf("%q is accepted: %v", c.text, err)
			continue
		}
		want := fmt.Sprintf("%s:%s: ", path, c.place)
		if c.key != "" {
			want += c.key + ": "
		}
		if got := err.Error(); !strings.HasPrefix(got, want) || !strings.Contains(got, c.hint) || strings.Contains(got, "\n") {
			t.Errorf("%q:\n got %s\nwant %s ... %s", c.text, strings.ReplaceAll(got, path, "FILE"), strings.ReplaceAll(want, path, "FILE"), c.hint)
		}
	}
}

// TestAFolderMayHaveTheNameOfAVolume where that is none.
func TestAFolderMayHaveTheNameOfAVolume(t *testing.T) {
	dir := t.TempDir()
	if filepath.VolumeName("C:/") != "" {
		t.Skip("here it is one")
	}
	if _, is := wholePath("C:/*.exe", dir); !is {
		t.Error("there is no such folder")
	}
	if err := os.Mkdir(filepath.Join(dir, "C:"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, is := wholePath("C:/*.exe", dir); is {
		t.Error("there is such a folder")
	}
	for _, glob := range []string{"*.exe", "a:b/c", "x/C:/y", `\\[a]`, ""} {
		if _, is := wholePath(glob, dir); is {
			t.Errorf("%q", glob)
		}
	}
}
