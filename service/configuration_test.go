// SPDX-License-Identifier: Apache-2.0

package service

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// update has the documents written that are rendered from a source of this package.
var update = flag.Bool("update", false, "write the documents on keys and on log messages from their sources")

const (
	configurationSource = "../packaging/doc/configuration.toml"
	configurationPage   = "../docs/configuration.md"
	configurationMan    = "../packaging/man/certpush.toml.5"
	configurationSample = "../packaging/doc/certpush.toml.example"
)

// describedKeys is packaging/doc/configuration.toml.
type describedKeys struct {
	Example string           `toml:"example"`
	Tables  []describedTable `toml:"table"`
}

type describedTable struct {
	Name  string         `toml:"name"`
	Shown string         `toml:"shown"` // in the example, where it is another
	About string         `toml:"about"`
	Keys  []describedKey `toml:"key"`
}

type describedKey struct {
	Key     string `toml:"key"`
	Type    string `toml:"type"`
	Default string `toml:"default"`
	None    string `toml:"none"`
	Example string `toml:"example"`
	Short   string `toml:"short"`
	Meaning string `toml:"meaning"`
}

func readDescribed(t *testing.T) describedKeys {
	t.Helper()
	var d describedKeys
	meta, err := toml.DecodeFile(configurationSource, &d)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range meta.Undecoded() {
		t.Errorf("%s: %s is not known", configurationSource, key)
	}
	return d
}

// exampleConfig is every key with its default.
func exampleConfig(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(configurationSample)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestConfigurationIsDescribed: the page, the man page and the example are as rendered
// from their one source. With -update it writes them.
func TestConfigurationIsDescribed(t *testing.T) {
	d := readDescribed(t)
	for path, want := range map[string]string{
		configurationPage:   between(t, configurationPage, "<!-- keys: begin -->\n", "<!-- keys: end -->\n", d.page()),
		configurationMan:    between(t, configurationMan, ".\\\" keys: begin\n", ".\\\" keys: end\n", d.man()),
		configurationSample: d.sample(),
	} {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(string(have), "\r\n", "\n") == want {
			continue
		}
		if !*update {
			t.Errorf("%s differs from %s: go test ./service -run TestConfigurationIsDescribed -update", filepath.Base(path), configurationSource)
			continue
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// between returns the text of a file, with the part between two lines replaced.
func between(t *testing.T, path, begin, end, with string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", path, begin, end)
	}
	return head + begin + with + end + tail
}

// TestEveryKeyIsDescribed, with its type and with the default that its fill method sets.
func TestEveryKeyIsDescribed(t *testing.T) {
	var top fileTable
	var watch watchTable
	var scanner scannerTable
	top.fill()
	watch.fill()
	scanner.fill()
	tables := map[string]reflect.Value{
		"": reflect.ValueOf(top), "[[watch]]": reflect.ValueOf(watch), "[journal]": reflect.ValueOf(top.Journal), "[scanner.NAME]": reflect.ValueOf(scanner),
		"[ledger]": reflect.ValueOf(top.Ledger), "[admin]": reflect.ValueOf(top.Admin), "[log]": reflect.ValueOf(top.Log),
	}
	types := map[reflect.Type]string{
		reflect.TypeFor[Path](): "path", reflect.TypeFor[[]Path](): "list of paths", reflect.TypeFor[string](): "text", reflect.TypeFor[bool](): "true or false",
		reflect.TypeFor[[]Glob](): "list of globs", reflect.TypeFor[Duration](): "duration", reflect.TypeFor[Size](): "size", reflect.TypeFor[*Size](): "size",
		reflect.TypeFor[Count](): "number", reflect.TypeFor[Workers](): "number or auto", reflect.TypeFor[Sync](): `"always" or duration`, reflect.TypeFor[SweepOf](): `duration or "auto"`, reflect.TypeFor[LedgerSync](): `duration or "always"`, reflect.TypeFor[Rate](): "rate",
		reflect.TypeFor[Address](): "address", reflect.TypeFor[[]Address](): "list of addresses", reflect.TypeFor[backoffTable](): "table",
		reflect.TypeFor[CopyOf](): "small or always", reflect.TypeFor[Depth](): "size or full", reflect.TypeFor[Canary](): "path",
	}
	for _, table := range readDescribed(t).Tables {
		have, ok := tables[table.Name]
		if !ok {
			t.Errorf("no table is named %q", table.Name)
			continue
		}
		delete(tables, table.Name)
		described := map[string]describedKey{}
		for _, k := range table.Keys {
			described[k.Key] = k
		}
		for i := range have.NumField() {
			name, field := have.Type().Field(i).Tag.Get("toml"), have.Field(i)
			if table.Name == "" && name != "state" && name != "copy_memory" {
				continue // a table of its own
			}
			k, ok := described[name]
			delete(described, name)
			if !ok {
				t.Errorf("%s %s is not described", table.Name, name)
				continue
			}
			if types[field.Type()] != k.Type {
				t.Errorf("%s %s is a %q, described as %q", table.Name, name, types[field.Type()], k.Type)
			}
			if (k.Default == "") == (k.None == "") || k.Meaning == "" {
				t.Errorf("%s %s needs a meaning, and either a default or what holds without one", table.Name, name)
			}
			if name != "state" || filepath.Separator == '/' { // another folder on Windows
				sameDefault(t, table.Name+" "+name, k.Default, field)
			}
		}
		for name := range described {
			t.Errorf("there is no key %s %s", table.Name, name)
		}
	}
	for name := range tables {
		t.Errorf("table %s is not described", name)
	}
}

// sameDefault reports whether a default that is described is the one that is set. A key
// without a described default must have the zero value.
func sameDefault(t *testing.T, key, text string, have reflect.Value) {
	t.Helper()
	want := reflect.New(have.Type()).Elem()
	if text != "" {
		raw := map[string]any{}
		if _, err := toml.Decode("key = "+text, &raw); err != nil {
			t.Errorf("%s: %v", key, err)
			return
		}
		b := &binder{}
		b.bind("key", raw["key"], want)
		if len(b.problems) > 0 {
			t.Errorf("%s: %v", key, b.problems)
		}
	}
	if have.Kind() == reflect.Slice && have.Len() == 0 && want.Len() == 0 {
		return
	}
	if !reflect.DeepEqual(have.Interface(), want.Interface()) {
		t.Errorf("%s is %v by default, described as %s", key, have, text)
	}
}

// standsFor returns the text that is shown for a key's default.
func (k describedKey) standsFor() (text string, literal bool) {
	if k.Default != "" {
		return k.Default, true
	}
	return k.None, strings.HasPrefix(k.None, "[")
}

// page renders the tables of docs/configuration.md.
func (d describedKeys) page() string {
	var b strings.Builder
	cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	for _, t := range d.Tables {
		title := "`" + t.Name + "`"
		if t.Name == "" {
			title = "Top level"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", title, t.About)
		for _, k := range t.Keys {
			def, literal := k.standsFor()
			if literal {
				def = "`" + def + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Key, cell(k.Type), cell(def), cell(k.Meaning))
		}
	}
	return b.String() + "\n"
}

// man renders the keys of certpush.toml(5).
func (d describedKeys) man() string {
	var b strings.Builder
	plain := strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, "`", "").Replace
	text := func(s string) {
		for line := range strings.SplitSeq(s, "\n") {
			line = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(line)
			parts := strings.Split(line, "`")
			for i := 1; i < len(parts); i += 2 {
				parts[i] = `\fB` + parts[i] + `\fR`
			}
			line = strings.Join(parts, "")
			for part := range strings.SplitSeq(strings.ReplaceAll(line, ". ", ".\n"), "\n") {
				if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "'") {
					part = `\&` + part
				}
				fmt.Fprintln(&b, part)
			}
		}
	}
	for _, t := range d.Tables {
		title := t.Name
		if title == "" {
			title = `"TOP LEVEL"`
		}
		fmt.Fprintf(&b, ".SH %s\n", title)
		text(t.About)
		for _, k := range t.Keys {
			def, literal := k.standsFor()
			switch {
			case literal:
				fmt.Fprintf(&b, ".TP\n.B %s = %s\n", k.Key, plain(def))
			case def == "-":
				fmt.Fprintf(&b, ".TP\n.B %s\n", k.Key)
			default:
				fmt.Fprintf(&b, ".TP\n.BR %s \\ (%s)\n", k.Key, strings.ReplaceAll(plain(def), " ", `\ `))
			}
			text(k.Meaning)
		}
	}
	return b.String()
}

// sample renders certpush.toml.example.
func (d describedKeys) sample() string {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(d.Example, "\n"))
	for _, t := range d.Tables {
		b.WriteByte('\n')
		name, width := t.Name, 0
		if t.Shown != "" {
			name = t.Shown
		}
		if name != "" {
			fmt.Fprintln(&b, name)
		}
		for _, k := range t.Keys {
			if k.Default+k.Example != "" {
				width = max(width, len(k.Key))
			}
		}
		for _, k := range t.Keys {
			value := k.Example
			if value == "" {
				value = k.Default
			}
			if value == "" {
				continue
			}
			line := fmt.Sprintf("%-*s = %s", width, k.Key, value)
			for i, comment := range strings.Split(k.Short, "\n") {
				switch {
				case comment == "":
				case i == 0:
					line = fmt.Sprintf("%-32s # %s", line, comment)
				default:
					line += fmt.Sprintf("\n%-32s # %s", "", comment)
				}
			}
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}
