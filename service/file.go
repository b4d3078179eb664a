// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/certpush/certpush/pipeline"
)

// maxFile is the largest configuration file, in bytes.
const maxFile = 1 << 20

// fileTable is certpush.toml. The fill methods set the defaults.
type fileTable struct {
	State   Path                    `toml:"state"`
	Watch   []watchTable            `toml:"watch"`
	Journal journalTable            `toml:"journal"`
	Scanner map[string]scannerTable `toml:"scanner"`
	Ledger  ledgerTable             `toml:"ledger"`
	Admin   adminTable              `toml:"admin"`
	Log     logTable                `toml:"log"`
	Copies  Size                    `toml:"copy_memory"`
}

type watchTable struct {
	Path        Path     `toml:"path"`
	Name        string   `toml:"name"`
	Include     []Glob   `toml:"include"`
	Exclude     []Glob   `toml:"exclude"`
	Settle      Duration `toml:"settle"`
	Quiet       Duration `toml:"quiet"`
	SettleLimit Duration `toml:"settle_limit"`
	MinSize     Size     `toml:"min_size"`
	MaxSize     Size     `toml:"max_size"`
	Sweep       SweepOf  `toml:"sweep"`
	Engine      string   `toml:"engine"`
}

type journalTable struct {
	Dir      Path     `toml:"dir"`
	CutEvery Duration `toml:"cut_every"`
	CutSize  Size     `toml:"cut_size"`
	Keep     Count    `toml:"keep"`
	Max      Size     `toml:"max"`
	Sync     Sync     `toml:"sync"`
	MinFree  Size     `toml:"min_free"`
}

type scannerTable struct {
	Type      string       `toml:"type"`
	Address   Address      `toml:"address"`
	Addresses []Address    `toml:"addresses"`
	Lists     []Path       `toml:"lists"`
	Workers   Workers      `toml:"workers"`
	Queue     Count        `toml:"queue"`
	Timeout   Duration     `toml:"timeout"`
	Tries     Count        `toml:"tries"`
	Backoff   backoffTable `toml:"backoff"`
	MaxSize   *Size        `toml:"max_size"` // nil: the type's default
	Rate      Rate         `toml:"rate"`
	Cache     Duration     `toml:"cache"`
	Copy      CopyOf       `toml:"copy"`
	Sight     Duration     `toml:"sight"`
	Depth     Depth        `toml:"sight_depth"`
	Canary    Canary       `toml:"canary"`
}

type backoffTable struct {
	First Duration `toml:"first"`
	Max   Duration `toml:"max"`
}

type ledgerTable struct {
	Sync LedgerSync `toml:"sync"`
	Keep Count      `toml:"keep"`
	Max  Size       `toml:"max"`
}

type adminTable struct {
	Listen string `toml:"listen"`
}

type logTable struct {
	Level  string `toml:"level"`
	To     string `toml:"to"`
	Format string `toml:"format"`
}

func (t *fileTable) fill() {
	t.State, t.Copies = Path(defaultState()), Size(defaults().CopyMemory)
	t.Journal.fill()
	t.Ledger.fill()
	t.Admin.fill()
	t.Log.fill()
}

// defaults is a pipeline's own: each default stands there, and only there.
func defaults() pipeline.Config {
	c, err := pipeline.Config{
		State: defaultState(), Trees: []pipeline.Tree{{Path: defaultState()}}, Scanners: []pipeline.Scanner{{Name: "any", Type: "clamd"}},
	}.Filled()
	if err != nil {
		panic(err) // nothing in it comes from outside
	}
	return c
}

func (t *watchTable) fill() {
	d := defaults().Trees[0]
	*t = watchTable{Settle: Duration(d.Settle), SettleLimit: Duration(d.SettleLimit), MinSize: Size(d.MinSize), Sweep: autoSweep, Engine: d.Engine}
}

func (t *journalTable) fill() {
	d := defaults().Journal
	*t = journalTable{Dir: Path(filepath.Base(d.Dir)), CutEvery: Duration(d.CutEvery), CutSize: Size(d.CutSize), Keep: Count(d.Keep), Max: Size(d.Max), MinFree: Size(d.MinFree)}
}

func (t *scannerTable) fill() {
	d := defaults().Scanners[0]
	*t = scannerTable{Workers: Workers(d.Workers), Queue: Count(d.Queue), Timeout: Duration(d.Timeout), Tries: Count(d.Tries), Copy: "small", Sight: Duration(d.Sight), Depth: Depth(d.SightDepth)}
	t.Backoff.fill()
}

func (t *backoffTable) fill() {
	d := defaults().Scanners[0]
	*t = backoffTable{First: Duration(d.BackoffFirst), Max: Duration(d.BackoffMax)}
}

func (t *ledgerTable) fill() {
	d := defaults().Ledger
	*t = ledgerTable{Sync: LedgerSync(d.Sync), Keep: Count(d.Keep), Max: Size(d.Max)}
}

func (t *adminTable) fill() { t.Listen = defaultListen }
func (t *logTable) fill()   { *t = logTable{Level: "info", To: "auto", Format: "text"} }

const defaultListen = "127.0.0.1:9440"

// readFile returns the text of the configuration at path, without a byte order mark. The
// error has the code ExitPermission if we may not read the file, or if others may write
// it; any other error has ExitConfig.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", configError(fmt.Errorf("read configuration: %s does not exist: write it, or name another one with -c FILE", path))
	case errors.Is(err, fs.ErrPermission):
		return "", &coded{ExitPermission, fmt.Errorf("read configuration: %w: let the user that certpush runs as read it", err)}
	case err != nil:
		return "", configError(fmt.Errorf("read configuration: %w", err))
	}
	defer f.Close()
	if err := trusted(f); err != nil {
		return "", &coded{ExitPermission, fmt.Errorf("read configuration: %w", err)}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", configError(fmt.Errorf("read configuration: %w: name a file with -c FILE", err))
	}
	if len(text) > maxFile {
		return "", configError(fmt.Errorf("read configuration: %s is larger than 1 MiB: is it the right file?", path))
	}
	return string(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))), nil
}

// parse binds the text of a configuration. Even with problems the table holds the values
// that could be bound. whole is false if the text is not TOML: then the only problem is
// the syntax, and the table holds the values of the lines without the bad one, so that
// the running service can still be found.
func parse(text string) (t fileTable, b *binder, whole bool) {
	t.fill()
	b = &binder{places: scanPlaces(text)}
	raw := map[string]any{}
	_, err := toml.Decode(text, &raw)
	if err == nil {
		b.bind("", raw, reflect.ValueOf(&t).Elem())
		return t, b, true
	}
	bad := syntaxProblem(text, err)
	lines := strings.SplitAfter(text, "\n")
	lines[min(bad.Line, len(lines))-1] = "\n"
	raw = map[string]any{}
	if _, err := toml.Decode(strings.Join(lines, ""), &raw); err == nil {
		b.bind("", raw, reflect.ValueOf(&t).Elem())
	}
	b.problems = []Problem{bad}
	return t, b, false
}
