// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/certpush/certpush"

// mayImport lists for each package the packages of ours that it imports: one direction,
// down. A package that is not listed is not part of the house.
var mayImport = map[string][]string{
	".":         {"service", "installer"},
	"service":   {"pipeline"},
	"installer": {"packaging"},
	"packaging": nil,

	"pipeline": {
		"pipeline/internal/look", "pipeline/internal/producer", "pipeline/internal/consumer", "pipeline/internal/ledger", "pipeline/internal/cache",
		"pipeline/internal/config", "pipeline/internal/store", "pipeline/internal/sample", "pipeline/internal/condition",
		"pipeline/watch", "pipeline/journal", "pipeline/scan",
	},
	"pipeline/internal/look": {
		"pipeline/internal/producer", "pipeline/internal/ledger", "pipeline/internal/index", "pipeline/internal/config", "pipeline/internal/store", "pipeline/internal/sample",
		"pipeline/watch", "pipeline/journal",
	},
	"pipeline/internal/producer": {
		"pipeline/internal/index", "pipeline/internal/config", "pipeline/internal/store", "pipeline/internal/sample", "pipeline/internal/condition",
		"pipeline/watch", "pipeline/journal",
	},
	"pipeline/internal/consumer": {
		"pipeline/internal/ledger", "pipeline/internal/cache", "pipeline/internal/config", "pipeline/internal/store", "pipeline/internal/sample", "pipeline/internal/condition",
		"pipeline/watch", "pipeline/journal", "pipeline/scan", "pipeline/scan/scanners",
	},
	"pipeline/internal/ledger":    {"pipeline/internal/condition", "pipeline/internal/store", "pipeline/internal/sample", "pipeline/journal"},
	"pipeline/internal/index":     {"pipeline/internal/store", "pipeline/internal/sample", "pipeline/watch", "pipeline/journal"},
	"pipeline/internal/cache":     {"pipeline/internal/store", "pipeline/scan"},
	"pipeline/internal/store":     {"pipeline/internal/sample", "pipeline/journal"},
	"pipeline/internal/sample":    {"pipeline/watch", "pipeline/journal", "pipeline/scan"},
	"pipeline/internal/config":    nil,
	"pipeline/internal/condition": nil,

	"pipeline/watch":            nil,
	"pipeline/journal":          {"pipeline/internal/condition"},
	"pipeline/scan/scanners":    {"pipeline/scan", "pipeline/scan/clamd", "pipeline/scan/hashlist"},
	"pipeline/scan/clamd":       {"pipeline/scan"},
	"pipeline/scan/hashlist":    {"pipeline/scan"},
	"pipeline/scan":             nil,
	"pipeline/scan/scantest":    nil,
	"pipeline/journal/disktest": {"pipeline/journal"},
}

// never lists what a package must not reach, directly or through other packages, on any
// system. A name that ends in a slash stands for all names that begin with it.
var never = []struct{ from, to, why string }{
	{"pipeline/watch", "pipeline/journal", "it deals in paths, and knows of no line"},
	{"pipeline/watch", "pipeline/scan", "it does not ask what becomes of a file"},
	{"pipeline/journal", "pipeline/watch", "it deals in lines, and knows of no file that they name"},
	{"pipeline/journal", "pipeline/scan", "it does not ask what becomes of a file"},
	{"pipeline/scan", "pipeline/journal", "it judges an open file, wherever the file comes from"},
	{"pipeline/scan", "pipeline/watch", "it judges an open file, wherever the file lies"},
	{"pipeline/watch", "pipeline/internal/", "a room rests on it, not the other way"},
	{"pipeline/journal", "pipeline/internal/sample", "it deals in lines, and does not know what they say"},
	{"pipeline/journal", "pipeline/internal/store", "the store rests on it, not the other way"},
	{"pipeline/scan", "pipeline/internal/", "a room rests on it, not the other way"},
	{"pipeline/internal/producer", "pipeline/scan/", "only the consumer asks a scanner"},
	{"pipeline/internal/look", "pipeline/scan/", "a look asks no scanner"},
	{"pipeline/internal/producer", "pipeline/internal/consumer", "the two may run in two processes: the journal is between them"},
	{"pipeline/internal/consumer", "pipeline/internal/producer", "the two may run in two processes: the journal is between them"},
	{"pipeline/internal/consumer", "pipeline/internal/index", "only the producer knows which files are journaled"},
	{"pipeline/internal/producer", "pipeline/internal/ledger", "only the consumer knows which lines are judged"},
	{"pipeline/internal/producer", "pipeline/internal/cache", "only the consumer knows which lines are judged"},
	{"pipeline/internal/look", "pipeline/internal/consumer", "a look changes nothing and pushes nothing"},
	{"pipeline/internal/look", "pipeline/internal/cache", "a look tells what is on record, and a cache is not"},
	{"pipeline/internal/sample", "pipeline/internal/store", "words do no I/O"},
	{"pipeline/internal/sample", "pipeline/internal/config", "a word does not depend on a setting"},
	{"pipeline/internal/config", "pipeline/", "settings rest on nothing"},
	{"pipeline", "service", "another program embeds the pipeline without our service"},
	{"pipeline", "github.com/kardianos/service", "an embedder has a process of its own"},
	{"pipeline", "github.com/spf13/cobra", "an embedder has a command line of its own"},
	{"pipeline", "github.com/BurntSushi/toml", "an embedder has a configuration of its own"},
	{"pipeline", "gopkg.in/natefinch/", "an embedder has a log of its own"},
	{"pipeline/watch", "github.com/prometheus/", "metrics are counted in the rooms that rest on it"},
	{"pipeline/journal", "github.com/prometheus/", "metrics are counted in the rooms that rest on it"},
	{"pipeline/scan", "github.com/prometheus/", "metrics are counted in the rooms that rest on it"},
	{"pipeline/journal", "github.com/cockroachdb/", "lines survive by files alone"},
	{"pipeline/internal/sample", "github.com/cockroachdb/", "words do no I/O"},
	{"pipeline/internal/ledger", "net/http", "outcomes are recorded on this machine"},
	{"installer", "pipeline", "it registers a service and runs none"},
	{"packaging", "net", "it is the bytes that a package carries"},
}

// inTests lists the packages that only tests import.
var inTests = []string{"pipeline/scan/scantest", "pipeline/journal/disktest"}

// source is one Go file of the repository.
type source struct {
	path, dir string // with slashes, relative to the repository
	text      string
	file      *ast.File
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources parses all Go files, for all systems.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && p != "." && strings.HasPrefix(d.Name(), ".") {
			return cmp.Or(err, fs.SkipDir)
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		all = append(all, source{p, path.Dir(p), string(text), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImportsRunOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		allowed, known := mayImport[s.dir]
		if !known {
			t.Errorf("%s: package %s is not in the house", s.path, s.dir)
			continue
		}
		seen[s.dir] = true
		for _, i := range s.file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			ours, is := strings.CutPrefix(name, module+"/")
			if !is || slices.Contains(allowed, ours) || s.test() && (ours == s.dir || slices.Contains(inTests, ours) || strings.HasPrefix(s.dir, "pipeline") && strings.HasPrefix(ours, "pipeline/")) {
				continue
			}
			t.Errorf("%s imports %s", s.path, ours)
		}
	}
	for dir := range maps.Keys(mayImport) {
		if !seen[dir] {
			t.Errorf("package %s is gone", dir)
		}
	}
}

// reached returns the packages that a package imports on a system, directly or through
// packages of ours.
func reached(all []source, goos, from string) map[string]bool {
	system := build.Default
	system.GOOS, system.CgoEnabled = goos, false
	found := map[string]bool{}
	var visit func(dir string)
	visit = func(dir string) {
		for _, s := range all {
			if match, err := system.MatchFile(dir, path.Base(s.path)); s.dir != dir || s.test() || err != nil || !match {
				continue
			}
			for _, i := range s.file.Imports {
				name, err := strconv.Unquote(i.Path.Value)
				if err != nil || found[name] {
					continue
				}
				found[name] = true
				if ours, is := strings.CutPrefix(name, module+"/"); is {
					found[ours] = true
					visit(ours)
				}
			}
		}
	}
	visit(from)
	return found
}

// TestNothingReachesWhatItMustNotKnow, on any system, directly or through other
// packages.
func TestNothingReachesWhatItMustNotKnow(t *testing.T) {
	all := sources(t)
	for _, goos := range []string{"linux", "windows", "darwin"} {
		for _, edge := range never {
			for name := range reached(all, goos, edge.from) {
				if name == edge.to || strings.HasSuffix(edge.to, "/") && strings.HasPrefix(name, edge.to) {
					t.Errorf("on %s %s reaches %s: %s", goos, edge.from, name, edge.why)
				}
			}
		}
	}
}

// TestNoFileNameStandsTwice below pipeline, except package docs: a reader who is told a
// name finds one file.
func TestNoFileNameStandsTwice(t *testing.T) {
	at := map[string]string{}
	for _, s := range sources(t) {
		name := path.Base(s.path)
		if !strings.HasPrefix(s.path, "pipeline/") || s.test() || name == "doc.go" {
			continue
		}
		if first := at[name]; first != "" {
			t.Errorf("%s and %s", first, s.path)
		}
		at[name] = s.path
	}
}

// TestOnlyThePipelineKnowsASample: watch deals in paths, journal in lines, scan in an
// open file.
func TestOnlyThePipelineKnowsASample(t *testing.T) {
	for _, s := range sources(t) {
		switch s.dir {
		case "pipeline/watch", "pipeline/journal", "pipeline/scan", "pipeline/scan/clamd", "pipeline/scan/hashlist", "pipeline/scan/scanners":
			ast.Inspect(s.file, func(n ast.Node) bool {
				if id, is := n.(*ast.Ident); is && strings.Contains(strings.ToLower(id.Name), "sample") {
					t.Errorf("%s: %s", s.path, id.Name)
				}
				return true
			})
		}
	}
}

func TestEachPackageSaysWhatItPromises(t *testing.T) {
	docs := map[string]string{}
	for _, s := range sources(t) {
		if s.file.Doc != nil && !s.test() {
			docs[s.dir] += s.file.Doc.Text()
		}
	}
	for dir := range maps.Keys(mayImport) {
		switch doc := docs[dir]; {
		case doc == "":
			t.Errorf("%s has no package doc", dir)
		case dir != "." && !slices.Contains(inTests, dir) && !strings.Contains(doc, "1."):
			t.Errorf("the doc of %s lists no invariants:\n%s", dir, doc)
		}
	}
}

// TestThePromiseStandsInTheSameWords in README, DESIGN and the package doc.
func TestThePromiseStandsInTheSameWords(t *testing.T) {
	const promise = "A settled file is journaled before anything else is done with it. Every journaled sample gets exactly one recorded outcome from each scanner. " +
		"The cursor passes only samples that have theirs. A crash can repeat a push; it cannot lose one. " +
		"`clean` is said only of the very bytes that a scanner was handed, by a scanner that has shown that it sees; all else is `unscanned`, with the reason."
	for _, p := range []string{"README.md", "DESIGN.md", "pipeline/pipeline.go"} {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Join(strings.Fields(strings.NewReplacer("//", " ", "\n>", "\n").Replace(string(text))), " ")
		if !strings.Contains(words, promise) {
			t.Errorf("%s says something else", p)
		}
	}
}

func TestHouseRules(t *testing.T) {
	eicar := strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR`, "STANDARD"}, "-")
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.text, "// SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s: no licence line", s.path)
		}
		switch s.file.Name.Name {
		case "util", "utils", "common", "types", "manager", "handler", "helper", "helpers":
			t.Errorf("%s: package %s says nothing", s.path, s.file.Name.Name)
		}
		if strings.Contains(s.text, eicar) {
			t.Errorf("%s holds EICAR: a scanner on this machine would take the file away; assemble it at run time", s.path)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, is := n.(*ast.SelectorExpr)
			if !is {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			switch {
			case pkg == nil:
			case pkg.Name == "time" && sel.Sel.Name == "Sleep" && s.test() && !strings.Contains(s.text, `"testing/synctest"`):
				t.Errorf("%s sleeps: wait for a condition, or let time run in synctest", s.path)
			case pkg.Name == "runtime" && sel.Sel.Name == "GOOS" && !s.test() && s.path != "main.go": // `version` prints it
				t.Errorf("%s asks for the system: write twins", s.path)
			}
			return true
		})
		for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
			if strings.Contains(s.text, "// "+word) {
				t.Errorf("%s: %s", s.path, word)
			}
		}
	}
}

// TestTypesStaySmall: a type with behaviour that has over 20 fields or 25 methods does
// more than one thing. A struct without methods is plain data and may have more.
func TestTypesStaySmall(t *testing.T) {
	const mostFields, mostMethods = 20, 25
	fields, methods := map[string]int{}, map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if name := receiver(d); name != "" {
					name = s.dir + "." + name
					if methods[name] == nil {
						methods[name] = map[string]bool{}
					}
					methods[name][d.Name.Name] = true // a twin on another system has the same name
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if name, n := fieldsOf(spec); name != "" {
						name = s.dir + "." + name
						fields[name] = max(fields[name], n)
					}
				}
			}
		}
	}
	if len(methods) < 50 || len(fields) < 50 {
		t.Fatalf("%d types with methods and %d structs are found", len(methods), len(fields))
	}
	for name, has := range methods {
		if len(has) > mostMethods {
			t.Errorf("%s has %d methods: let a part of it be a type of its own", name, len(has))
		}
		if fields[name] > mostFields {
			t.Errorf("%s has %d fields: let a part of it be a type of its own", name, fields[name])
		}
	}
}

// receiver returns the name of the type of which f is a method, or "" if f is not a
// method.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	at := f.Recv.List[0].Type
	for {
		switch e := at.(type) {
		case *ast.StarExpr:
			at = e.X
		case *ast.IndexExpr:
			at = e.X
		case *ast.IndexListExpr:
			at = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// fieldsOf returns the name of a struct and the number of its fields. An embedded type
// counts as one. name is "" if spec is not a struct.
func fieldsOf(spec ast.Spec) (name string, n int) {
	typed, is := spec.(*ast.TypeSpec)
	if !is {
		return "", 0
	}
	st, is := typed.Type.(*ast.StructType)
	if !is {
		return "", 0
	}
	for _, f := range st.Fields.List {
		n += max(1, len(f.Names))
	}
	return typed.Name.Name, n
}

// TestNothingOfOursStartsAProgram, so a sample is never run. Only an installation by
// hand calls a program, which is named in its source.
func TestNothingOfOursStartsAProgram(t *testing.T) {
	starts := regexp.MustCompile(`^(?:StartProcess|ForkExec|Exec|CreateProcess\w*|ShellExecute\w*)$`)
	for _, s := range sources(t) {
		if s.test() || slices.Contains(inTests, s.dir) {
			continue
		}
		byHand := s.path == "installer/hand_linux.go"
		for _, i := range s.file.Imports {
			if i.Path.Value == `"plugin"` || i.Path.Value == `"os/exec"` && !byHand {
				t.Errorf("%s imports %s", s.path, i.Path.Value)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			sel, is := call.Fun.(*ast.SelectorExpr)
			if !is {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			switch {
			case pkg == nil:
			case slices.Contains([]string{"os", "syscall", "unix", "windows"}, pkg.Name) && starts.MatchString(sel.Sel.Name):
				t.Errorf("%s calls %s.%s", s.path, pkg.Name, sel.Sel.Name)
			case byHand && pkg.Name == "exec":
				if name, is := call.Args[0].(*ast.BasicLit); !is || sel.Sel.Name != "Command" || name.Kind != token.STRING {
					t.Errorf("%s: exec.%s of what its source does not name", s.path, sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestTheCardsPackagesAreUsed, each in the package that needs it.
func TestTheCardsPackagesAreUsed(t *testing.T) {
	want := map[string]string{
		"github.com/kardianos/service":                   "service",
		"github.com/fsnotify/fsnotify":                   "pipeline/watch",
		"gopkg.in/natefinch/lumberjack.v2":               "service",
		"github.com/BurntSushi/toml":                     "service",
		"github.com/spf13/cobra":                         ".",
		"github.com/cenkalti/backoff/v5":                 "pipeline/internal/consumer",
		"github.com/cockroachdb/pebble/v2":               "pipeline/internal/store",
		"github.com/prometheus/client_golang/prometheus": "pipeline",
	}
	for _, s := range sources(t) {
		for _, i := range s.file.Imports {
			if name, err := strconv.Unquote(i.Path.Value); err == nil && want[name] == s.dir && !s.test() {
				delete(want, name)
			}
		}
	}
	for name, dir := range want {
		t.Errorf("%s does not import %s", dir, name)
	}
}

// TestTheThreatModelNamesWhatIsThere: the tests and scripts that docs/threat-model.md
// names exist.
func TestTheThreatModelNamesWhatIsThere(t *testing.T) {
	text, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, is := d.(*ast.FuncDecl); is {
				there[f.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+|(?:testdata|packaging)/[a-z/.-]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 40 {
		t.Errorf("it names %d tests", len(named))
	}
	for _, n := range named {
		if _, err := os.Stat(n[1]); err != nil && !there[n[1]] {
			t.Errorf("%s is not there", n[1])
		}
	}
}

// TestEachLinkOfADocumentLeadsSomewhere: links in documents lead to files of the
// repository and to headings of documents that exist.
func TestEachLinkOfADocumentLeadsSomewhere(t *testing.T) {
	headings := func(text string) map[string]bool {
		all := map[string]bool{}
		for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
			name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
			all[strings.ReplaceAll(name, " ", "-")] = true
		}
		return all
	}
	links := 0
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || p == "dist") {
			return cmp.Or(err, fs.SkipDir)
		}
		if !strings.HasSuffix(p, ".md") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		plain := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`").ReplaceAllString(string(text), "x")
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(plain, -1) {
			to, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			links++
			target := p
			if to != "" {
				target = filepath.Join(filepath.Dir(p), filepath.FromSlash(to))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s is not there", p, m[1])
				continue
			}
			if heading == "" {
				continue
			}
			there, err := os.ReadFile(target)
			if err != nil || !headings(string(there))[heading] {
				t.Errorf("%s: %s has no such heading", p, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 40 {
		t.Errorf("the documents have %d links", links)
	}
}
