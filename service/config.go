// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// The halves, for Flags.
const (
	Both         = pipeline.Both
	ProducerOnly = pipeline.ProducerOnly
	ConsumerOnly = pipeline.ConsumerOnly
)

// Flags are the values of the command line. They overrule the file. A zero field leaves
// the value of the file.
type Flags struct {
	File       string        // -c
	Half       pipeline.Half // the half that the verb runs
	Trees      []string      // -d
	JournalDir string        // -m
	Address    string        // -s
	Workers    int           // -t
	Queue      int           // -q
}

// Settings is a whole configuration, file and flags together.
type Settings struct {
	File     string          // its path; empty: no file
	Pipeline pipeline.Config // without Half, Log and Registry
	Listen   string          // as in the file: HOST:PORT, unix:/path or off
	Log      LogSettings
}

// LogSettings says where the log goes, from which level on, and in which form.
type LogSettings struct {
	Level slog.Level
	To    string // auto, or a file path
	JSON  bool
}

// Load reads the configuration: the file of -c, or the system's own file if there is
// one, or no file. If it has problems, the error is a *ConfigError with the place of
// each, and the Settings hold the values that could be read.
func Load(f Flags) (Settings, error) {
	path, err := f.path()
	if err != nil {
		return Settings{}, err
	}
	var table fileTable
	b := &binder{}
	whole := true
	if path == "" {
		table.fill()
		table.State = Path(f.foregroundState())
	} else {
		text, err := readFile(path)
		if err != nil {
			table.fill()
			s, _ := convert(table, &binder{}, f)
			return s, err
		}
		table, b, whole = parse(text)
	}
	problems := b.problems
	s, trees := convert(table, b, f)
	s.File = path
	if whole {
		checkTrees(b, s, trees)
	} else {
		b.problems = problems
	}
	if len(b.problems) > 0 {
		slices.SortStableFunc(b.problems, func(x, y Problem) int {
			return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Col, y.Col))
		})
		return s, &ConfigError{File: path, Problems: b.problems}
	}
	return s, nil
}

// path returns the path of the file to read, or "" if there is none.
func (f Flags) path() (string, error) {
	if f.File != "" {
		path, err := filepath.Abs(f.File)
		if err != nil {
			return "", fmt.Errorf("resolve configuration path: %w", err)
		}
		return path, nil
	}
	path := defaultFile()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return path, nil
}

// foregroundState returns the state folder if there is no file.
func (f Flags) foregroundState() string {
	if f.JournalDir != "" {
		return filepath.Join(f.JournalDir, ".certpush")
	}
	return "certpush-state"
}

// convert turns the tables and flags into Settings. It also returns the key of each
// tree, or "-d PATH" for a tree of the command line.
func convert(t fileTable, b *binder, f Flags) (Settings, []string) {
	s := Settings{Listen: t.Admin.Listen}
	s.Pipeline.State, s.Pipeline.CopyMemory = absolute(b, "state", string(t.State)), int64(none(t.Copies))
	s.Pipeline.Ledger = pipeline.Ledger{Sync: time.Duration(t.Ledger.Sync), Keep: int(t.Ledger.Keep), Max: int64(none(t.Ledger.Max))}
	s.Pipeline.Journal = convertJournal(t.Journal, b)
	if f.JournalDir != "" {
		s.Pipeline.Journal.Dir = absolute(b, "", f.JournalDir)
	}
	var keys []string
	for i, w := range t.Watch {
		key := element("watch", i+1)
		keys = append(keys, key)
		s.Pipeline.Trees = append(s.Pipeline.Trees, convertTree(w, b, key))
	}
	if len(f.Trees) > 0 {
		s.Pipeline.Trees, keys = nil, nil
		for _, path := range f.Trees {
			if path == "" {
				b.note("-d", place{}, "the path is empty: name the folder to watch")
				continue
			}
			keys = append(keys, "-d "+path)
			s.Pipeline.Trees = append(s.Pipeline.Trees, pipeline.Tree{Path: absolute(b, "", path)})
		}
	}
	s.Pipeline.Scanners = f.overrule(b, convertScanners(t.Scanner, b))
	if _, err := parseListen(t.Admin.Listen); err != nil {
		b.wrong("admin.listen", "%s", err)
	}
	s.Log = convertLog(t.Log, b)
	return s, keys
}

// absolute makes path absolute. A path in the file must be absolute already, because
// the system chooses the folder in which a service starts. A path of the command line or
// of a default may be relative.
func absolute(b *binder, key, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if _, inFile := b.places[key]; inFile {
		b.wrong(key, "%q is not an absolute path: write it in full", path)
		return path
	}
	full, err := filepath.Abs(path)
	if err != nil {
		b.note(key, place{}, fmt.Sprintf("resolve %q: %s: write it in full", path, err))
		return path
	}
	return full
}

// positive notes a problem if the file gives a value that is not above 0.
func (b *binder) positive(key string, n int64, example string) {
	if _, inFile := b.places[key]; inFile && n <= 0 {
		b.wrong(key, "it must be more than 0: write for example %q", example)
	}
}

// none turns the 0 of the file, which means no limit, into the -1 of the pipeline. There
// 0 means the default.
func none[T ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

func convertJournal(t journalTable, b *binder) pipeline.Journal {
	b.positive("journal.cut_every", int64(t.CutEvery), "1m")
	b.positive("journal.cut_size", int64(t.CutSize), "64 MiB")
	return pipeline.Journal{
		Dir: string(t.Dir), CutEvery: time.Duration(t.CutEvery), CutSize: int64(t.CutSize), Keep: int(t.Keep),
		Sync: time.Duration(t.Sync), MinFree: int64(none(t.MinFree)), Max: int64(none(t.Max)),
	}
}

func convertTree(t watchTable, b *binder, key string) pipeline.Tree {
	path := string(t.Path)
	switch _, given := b.places[join(key, "path")]; {
	case !given:
		b.odd(key, "path is missing: write path = '/srv/samples', the folder to watch")
	case path != "":
		path = absolute(b, join(key, "path"), path)
	}
	for list, all := range map[string][]Glob{"include": t.Include, "exclude": t.Exclude} {
		for i, g := range all {
			if whole, is := wholePath(string(g), path); is {
				b.wrong(element(join(key, list), i+1), "%q is a whole path, but globs are below the tree's path: did you mean %q?", string(g), belowTree(whole, path))
			}
		}
	}
	b.positive(join(key, "settle_limit"), int64(t.SettleLimit), "1h")
	if t.MaxSize > 0 && t.MaxSize < t.MinSize {
		b.wrong(join(key, "max_size"), "it is smaller than min_size: swap the two, or take one out")
	}
	if strings.ContainsFunc(t.Name, unprintable) {
		b.wrong(join(key, "name"), "it holds a control character: take it out")
	}
	here, elsewhere := pipeline.Engines()
	if slices.Contains(elsewhere, t.Engine) {
		b.wrong(join(key, "engine"), "engine %q is for another system: use one of %s", t.Engine, strings.Join(here, ", "))
	} else {
		b.built(join(key, "engine"), "engine", t.Engine, here, nil)
	}
	return pipeline.Tree{
		Name: t.Name, Path: path, Include: globs(t.Include), Exclude: globs(t.Exclude),
		Settle: max(time.Duration(t.Settle), 1), Quiet: time.Duration(t.Quiet), SettleLimit: time.Duration(t.SettleLimit),
		MinSize: int64(none(t.MinSize)), MaxSize: int64(t.MaxSize), Sweep: t.Sweep.time(), Adapts: t.Sweep == autoSweep, Engine: t.Engine,
	}
}

// wholePath reports whether a glob is a whole path of Unix or of Windows, which matches
// nothing below a tree, and returns it with slashes and without its volume. A folder may be
// named C: where that is no volume.
func wholePath(glob, tree string) (rest string, is bool) {
	if rest = glob; len(rest) > 2 && rest[1] == ':' && (rest[2] == '/' || rest[2] == '\\') && (rest[0]|0x20) >= 'a' && (rest[0]|0x20) <= 'z' {
		if st, err := os.Stat(filepath.Join(tree, rest[:2])); err == nil && st.IsDir() && filepath.VolumeName(rest) == "" {
			return glob, false
		}
		return strings.ReplaceAll(rest[2:], "\\", "/"), true
	}
	return rest, strings.HasPrefix(rest, "/")
}

// belowTree returns the glob that was meant by one with a slash at its begin: the rest of a
// whole path below the tree, a folder that is in the tree, or the same in any folder.
func belowTree(glob, tree string) string {
	glob = path.Clean(glob)
	below := filepath.ToSlash(tree[len(filepath.VolumeName(tree)):]) // without C:, for the glob has none
	if rest, is := strings.CutPrefix(glob, strings.TrimRight(below, "/")+"/"); is && tree != "" {
		return rest
	}
	glob = strings.TrimLeft(glob, "/")
	first, _, nested := strings.Cut(glob, "/")
	if !nested {
		return glob
	}
	if st, err := os.Stat(filepath.Join(tree, first)); err == nil && st.IsDir() {
		return glob
	}
	return "**/" + glob
}

func globs(in []Glob) []string {
	var out []string
	for _, g := range in {
		out = append(out, string(g))
	}
	return out
}

// built notes a problem if a choice is not one of now. later are the choices that are
// planned but not built.
func (b *binder) built(key, what, choice string, now, later []string) {
	if slices.Contains(now, choice) {
		return
	}
	known := strings.Join(now, ", ")
	if slices.Contains(later, choice) {
		b.wrong(key, "%s %q is not built yet: use one of %s", what, choice, known)
		return
	}
	near, least := "", 3
	for _, k := range append(slices.Clone(now), later...) {
		if d := distance(strings.ToLower(choice), k); d < least {
			near, least = k, d
		}
	}
	if near != "" {
		b.wrong(key, "unknown %s %q: did you mean %q?", what, choice, near)
		return
	}
	b.wrong(key, "unknown %s %q: use one of %s", what, choice, known)
}

func convertLog(t logTable, b *binder) LogSettings {
	s := LogSettings{To: t.To, JSON: t.Format == "json"}
	b.built("log.level", "level", t.Level, []string{"debug", "info", "warn", "error"}, nil)
	b.built("log.format", "format", t.Format, []string{"text", "json"}, nil)
	switch t.Level {
	case "debug":
		s.Level = slog.LevelDebug
	case "warn":
		s.Level = slog.LevelWarn
	case "error":
		s.Level = slog.LevelError
	}
	var p Path
	if err := p.set(t.To); err != nil {
		b.wrong("log.to", "%s", err)
	} else if t.To != "auto" && !filepath.IsAbs(t.To) {
		b.wrong("log.to", "%q is neither \"auto\" nor an absolute path: write one of them", t.To)
	}
	return s
}

// checkTrees notes a problem for trees that lie in each other or have one name, and for
// a tree that holds files which certpush writes: it would push its own journal.
func checkTrees(b *binder, s Settings, keys []string) {
	trees := s.Pipeline.Trees
	dir := s.Pipeline.Journal.Dir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.Pipeline.State, dir)
	}
	own := []struct{ name, path string }{{"the state folder", s.Pipeline.State}, {"the journal folder", dir}, {"the log file", s.Log.To}}
	for i, t := range trees {
		if !filepath.IsAbs(t.Path) {
			continue
		}
		for _, o := range own {
			if filepath.IsAbs(o.path) && (below(o.path, t.Path) || below(Resolved(o.path), Resolved(t.Path))) {
				b.tree(keys[i], "path", fmt.Sprintf("%s %s lies in this tree, so certpush would push its own files: move one of them", o.name, o.path))
				break
			}
		}
		for j, u := range trees[:i] {
			switch {
			case !filepath.IsAbs(u.Path):
			case t.Path == u.Path || Resolved(t.Path) == Resolved(u.Path):
				b.tree(keys[i], "path", fmt.Sprintf("it is watched twice, here and as %s: take one of the two out", keys[j]))
			case below(t.Path, u.Path):
				b.tree(keys[i], "path", fmt.Sprintf("it lies in the tree of %s, %s, which watches all below it: take one of the two out", keys[j], u.Path))
			case below(u.Path, t.Path):
				b.tree(keys[i], "path", fmt.Sprintf("the tree of %s, %s, lies in it: take one of the two out", keys[j], u.Path))
			case nameOf(t) == nameOf(u):
				b.tree(keys[i], "name", fmt.Sprintf("the name %q is used twice, here and by %s: give one of them another name", nameOf(t), keys[j]))
			}
		}
	}
}

// tree notes a problem with a tree at the key name of its table. If the key is not in
// the file, the place is that of the table.
func (b *binder) tree(key, name, what string) {
	full := join(key, name)
	at, given := b.places[full]
	if strings.HasPrefix(key, "-d ") {
		full, at = key, spot{}
	} else if !given {
		at = b.places[key]
	}
	b.note(full, at.value, what)
}

func nameOf(t pipeline.Tree) string { return cmp.Or(t.Name, filepath.Base(t.Path)) }

// Resolved returns path with its symbolic links resolved, because a tree's own path may
// be one. The part of it that is not there stays as it is: the service manager may hide
// it.
func Resolved(path string) string {
	const follow = 40 // links; Linux follows as many
	dir, rest := path, ""
	for links := 0; ; {
		if to, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(to, rest)
		}
		to, err := os.Readlink(dir)
		switch {
		case err == nil && links < follow:
			if links++; !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(dir), to)
			}
			dir = to
		case dir == filepath.Dir(dir):
			return path
		default:
			dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest)
		}
	}
}

// below reports whether path is dir or lies in it.
func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Written returns the folders in which a service with these settings writes.
func (s Settings) Written() []string {
	dirs := []string{s.Pipeline.State}
	if dir := s.Pipeline.Journal.Dir; dir != "" {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(s.Pipeline.State, dir)
		}
		dirs = append(dirs, dir)
	}
	if filepath.IsAbs(s.Log.To) {
		dirs = append(dirs, filepath.Dir(s.Log.To))
	}
	if e, err := parseListen(s.Listen); err == nil && e.network == "unix" {
		dirs = append(dirs, filepath.Dir(e.address))
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return dir == "" })
}
