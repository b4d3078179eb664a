// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Problem is one mistake in a configuration.
type Problem struct {
	Line, Col int    // from 1; 0: not in the file but on the command line
	Key       string // in full, such as watch[2].settle; empty for syntax
	What      string // what is wrong, and the next step
}

// ConfigError holds all mistakes of one configuration.
type ConfigError struct {
	File     string
	Problems []Problem // in order of place
}

// Error returns one line for each problem: FILE:LINE:COLUMN: KEY: WHAT.
func (e *ConfigError) Error() string {
	var lines []string
	for _, p := range e.Problems {
		line := "command line"
		if p.Line > 0 {
			line = fmt.Sprintf("%s:%d:%d", e.File, p.Line, p.Col)
		}
		if p.Key != "" {
			line += ": " + p.Key
		}
		lines = append(lines, line+": "+p.What)
	}
	return strings.Join(lines, "\n")
}

// binder fills the structs of a configuration from the decoded text. It goes on after a
// problem, so that the user is told all of them.
type binder struct {
	places   places
	problems []Problem
}

// wrong notes a problem with the value of key.
func (b *binder) wrong(key, format string, args ...any) {
	b.note(key, b.places[key].value, fmt.Sprintf(format, args...))
}

// odd notes a problem with the key itself.
func (b *binder) odd(key, format string, args ...any) {
	b.note(key, b.places[key].key, fmt.Sprintf(format, args...))
}

// note notes a problem. It keeps only the first one of each key, because the others
// mostly follow from it.
func (b *binder) note(key string, at place, what string) {
	if slices.ContainsFunc(b.problems, func(p Problem) bool { return p.Key == key && (key != "" || p.What == what) }) {
		return
	}
	b.problems = append(b.problems, Problem{at.line, at.col, key, what})
}

// filled is a table that fills itself with its defaults.
type filled interface{ fill() }

// bind binds the value of key to dst. It notes each problem.

func (b *binder) bind(key string, v any, dst reflect.Value) {
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	if s, ok := dst.Addr().Interface().(setter); ok {
		if err := s.set(v); err != nil {
			b.wrong(key, "%s", err)
		}
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		b.table(key, v, dst)
	case reflect.Map:
		b.named(key, v, dst)
	case reflect.Slice:
		b.list(key, v, dst)
	case reflect.Bool:
		on, ok := v.(bool)
		if !ok {
			b.wrong(key, "%s stands where true or false is expected: write true or false without quotes", kind(v))
		}
		dst.SetBool(on)
	default:
		text, ok := v.(string)
		if !ok {
			b.wrong(key, "%s stands where text is expected: write it in quotes", kind(v))
		}
		dst.SetString(text)
	}
}

// table binds a TOML table to a struct.
func (b *binder) table(key string, v any, dst reflect.Value) {
	if f, ok := dst.Addr().Interface().(filled); ok {
		f.fill()
	}
	in, ok := v.(map[string]any)
	if !ok {
		if _, list := v.([]map[string]any); list {
			b.odd(key, "there is only one: write [%s] with single brackets, once", key)
		} else if strings.Contains(key, ".") {
			b.wrong(key, `%s stands where a table is expected: %s`, kind(v), tableHint(key))
		} else {
			b.wrong(key, "%s stands where a table is expected: write [%s] on a line of its own, its keys below", kind(v), key)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		full := join(key, name)
		if i := fieldOf(dst.Type(), name); i >= 0 {
			b.bind(full, in[name], dst.Field(i))
		} else {
			b.odd(full, "unknown key: %s", b.unknownHint(key, name, dst.Type()))
		}
	}
}

func tableHint(key string) string {
	if strings.HasPrefix(key, "scanner.") && strings.Count(key, ".") == 1 {
		return "each scanner has a name: write [scanner.NAME], for example [scanner.clamav], above its keys"
	}
	return `write { first = "1s", max = "5m" }`
}

// named binds [scanner.NAME] tables to a map by NAME.
func (b *binder) named(key string, v any, dst reflect.Value) {
	in, ok := v.(map[string]any)
	if !ok {
		b.odd(key, "each %s has a name: write [%s.NAME], for example [%s.clamav], with single brackets", key, key, key)
		return
	}
	dst.Set(reflect.MakeMap(dst.Type()))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		entry := reflect.New(dst.Type().Elem()).Elem()
		before := len(b.problems)
		full := join(key, name)
		b.bind(full, in[name], entry)
		if _, ok := in[name].(map[string]any); !ok && len(b.problems) > before {
			continue
		}
		dst.SetMapIndex(reflect.ValueOf(name), entry)
	}
}

// list binds a TOML array of tables or values to a slice.
func (b *binder) list(key string, v any, dst reflect.Value) {
	elem := dst.Type().Elem()
	var in []any
	switch v := v.(type) {
	case []any:
		in = v
	case []map[string]any:
		for _, t := range v {
			in = append(in, t)
		}
	default:
		switch text, isText := v.(string); {
		case elem.Kind() != reflect.Struct && isText:
			b.wrong(key, "text stands where a list is expected: write %s = [%s]", lastPart(key), strconv.QuoteToGraphic(text))
		case elem.Kind() != reflect.Struct:
			b.wrong(key, `%s stands where a list is expected: write %s = ["...", "..."]`, kind(v), lastPart(key))
		case isText:
			b.wrong(key, "text stands where a table is expected: write [[%s]] on a line of its own, and path = %s below it", key, strconv.QuoteToGraphic(text))
		default:
			b.odd(key, "there can be several: write [[%s]] with double brackets", key)
		}
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(in), len(in))
	for i := range in {
		b.bind(element(key, i+1), in[i], out.Index(i))
	}
	dst.Set(out)
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// fieldOf returns the index of the field for a key, or -1.
func fieldOf(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("toml") == name {
			return i
		}
	}
	return -1
}

// foreign maps words of other programs to our keys for the same thing.
func foreign() map[string]string {
	return map[string]string{
		"threads": "workers", "concurrency": "workers", "parallel": "workers", "directory": "path", "dir": "path", "root": "path",
		"folder": "path", "stable": "settle", "delay": "settle", "rescan": "sweep", "url": "address", "host": "address",
		"socket": "address", "server": "address", "retries": "tries", "attempts": "tries", "retry": "backoff", "ignore": "exclude",
		"filter": "include", "bind": "listen", "port": "listen", "file": "to", "output": "to", "retain": "keep", "fsync": "sync",
		"state_dir": "state", "statedir": "state", "scanners": "scanner", "watches": "watch", "trees": "watch", "tree": "watch",
		"kind": "type", "hashes": "lists", "max_file_size": "max_size", "limit": "rate", "rotate": "cut_every",
	}
}

// unknownHint returns a guess at the key that the user meant, or the known keys.
func (b *binder) unknownHint(key, name string, t reflect.Type) string {
	names := keysOf(t)
	if slices.Contains(names, foreign()[name]) {
		return fmt.Sprintf("did you mean `%s`?", foreign()[name])
	}
	// The very word elsewhere is a better guess than one like it here.
	for _, table := range homes() {
		if slices.Contains(keysOf(table.t), name) {
			if table.name == "" {
				return fmt.Sprintf("`%s` belongs at the top of the file, before the first [table]", name)
			}
			return fmt.Sprintf("`%s` is a key of %s: move it there", name, table.name)
		}
	}
	best, bestDistance := "", 3
	for _, known := range names {
		if d := distance(strings.ToLower(name), known); d < bestDistance && d < len(known) {
			best, bestDistance = known, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean `%s`?", best)
	}
	where := "here"
	if key == "" {
		where = "at the top of the file"
	}
	return fmt.Sprintf("known %s are %s", where, strings.Join(names, ", "))
}

// home is a table of the configuration, with the struct that has its keys.
type home struct {
	name string
	t    reflect.Type
}

func homes() []home {
	return []home{
		{"", reflect.TypeFor[fileTable]()}, {"[[watch]]", reflect.TypeFor[watchTable]()}, {"[scanner.NAME]", reflect.TypeFor[scannerTable]()},
		{"[journal]", reflect.TypeFor[journalTable]()}, {"[ledger]", reflect.TypeFor[ledgerTable]()},
		{"[admin]", reflect.TypeFor[adminTable]()}, {"[log]", reflect.TypeFor[logTable]()},
	}
}

// keysOf returns the keys of a table.
func keysOf(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("toml"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// distance returns how many edits make b from a. An edit adds, removes or changes one
// letter, or swaps two neighbours.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
