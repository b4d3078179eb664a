// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// A scanner's name becomes part of file names.
var scannerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// convertScanners returns the scanners in the order of the file.
func convertScanners(in map[string]scannerTable, b *binder) []pipeline.Scanner {
	names := slices.SortedFunc(maps.Keys(in), func(x, y string) int {
		p, q := b.places[join("scanner", x)].key, b.places[join("scanner", y)].key
		return cmp.Or(cmp.Compare(p.line, q.line), cmp.Compare(p.col, q.col), cmp.Compare(x, y))
	})
	var out []pipeline.Scanner
	seen := map[string]string{}
	for _, name := range names {
		key := join("scanner", name)
		if !scannerName.MatchString(name) {
			b.odd(key, "the name %q becomes part of file names: use letters, digits, - and _", name)
		}
		// Cursors are files, and for Windows clam and Clam are one file.
		if other, twice := seen[strings.ToLower(name)]; twice {
			b.odd(key, "the name differs from %q in case only: give one of them another name", other)
		}
		seen[strings.ToLower(name)] = name
		out = append(out, convertScanner(name, in[name], b, key))
	}
	return out
}

func convertScanner(name string, t scannerTable, b *binder, key string) pipeline.Scanner {
	k := func(name string) string { return join(key, name) }
	if _, given := b.places[k("type")]; !given {
		b.odd(key, "type is missing: write type = \"clamd\", \"hashlist\" or \"discard\"")
	} else {
		b.built(k("type"), "scanner type", t.Type, []string{"clamd", "hashlist", "discard"}, []string{"icap", "http", "exec", "strelka"})
	}
	s := pipeline.Scanner{
		Name: name, Type: t.Type, Addresses: addresses(t, b, key),
		Workers: int(t.Workers), Queue: int(t.Queue), Timeout: time.Duration(t.Timeout), Tries: int(t.Tries),
		BackoffFirst: time.Duration(t.Backoff.First), BackoffMax: time.Duration(t.Backoff.Max),
		Rate: pipeline.Rate(t.Rate), Cache: time.Duration(t.Cache),
	}
	t.sight(&s, b, key)
	for i, list := range t.Lists {
		s.Lists = append(s.Lists, absolute(b, element(k("lists"), i+1), string(list)))
	}
	if t.MaxSize != nil {
		s.MaxSize = int64(none(*t.MaxSize))
	}
	b.positive(k("timeout"), int64(t.Timeout), "5m")
	b.positive(k("backoff.first"), int64(t.Backoff.First), "1s")
	b.positive(k("backoff.max"), int64(t.Backoff.Max), "5m")
	if t.Backoff.First > t.Backoff.Max {
		b.wrong(k("backoff"), "first is longer than max: swap the two")
	}
	if t.Cache != 0 && t.Type == "discard" {
		b.wrong(k("cache"), "type discard judges nothing that could be remembered: take the line out")
	}
	if _, given := b.places[k("lists")]; given && t.Type != "hashlist" {
		b.odd(k("lists"), "only type hashlist has lists: take the line out")
	}
	return s
}

// addresses returns the addresses of a scanner, and notes each problem with them.
func addresses(t scannerTable, b *binder, key string) []string {
	_, one := b.places[join(key, "address")]
	_, several := b.places[join(key, "addresses")]
	given := "address"
	if several {
		given = "addresses"
	}
	switch {
	case t.Type == "hashlist" || t.Type == "discard":
		if one || several {
			b.odd(join(key, given), "type %s is built in and has no address: take the line out", t.Type)
		}
		return nil
	case one && several:
		b.odd(join(key, "addresses"), "address is given too: write only one of the two")
		return nil
	case t.Type != "clamd":
		return nil
	case !one && (!several || len(t.Addresses) == 0):
		b.odd(key, "address is missing: write address = \"unix:/run/clamav/clamd.ctl\" or \"tcp:HOST:3310\"")
		return nil
	case one:
		return []string{string(t.Address)}
	}
	var out []string
	for i, a := range t.Addresses {
		if a != "" && slices.Contains(out, string(a)) {
			b.wrong(element(join(key, "addresses"), i+1), "%q is named twice: take one out", a)
		}
		out = append(out, string(a))
	}
	return out
}

// overrule applies -s, -t and -q.
func (f Flags) overrule(b *binder, scanners []pipeline.Scanner) []pipeline.Scanner {
	if f.Address != "" {
		text := f.Address
		if isHostPort(text) {
			text = "tcp:" + text
		}
		var a Address
		if err := a.set(text); err != nil {
			b.note("-s", place{}, fmt.Sprintf("%q is not an address: write IP:PORT or unix:/path", f.Address))
		}
		scanners = []pipeline.Scanner{{Name: "clamd", Type: "clamd", Addresses: []string{string(a)}}}
	}
	// Without any scanner the built-in hash list judges. -t and -q are for it too.
	if len(scanners) == 0 && (f.Workers > 0 || f.Queue > 0) {
		scanners = []pipeline.Scanner{{Name: pipeline.DefaultScanner, Type: "hashlist"}}
	}
	for i := range scanners {
		if f.Workers > 0 {
			scanners[i].Workers = f.Workers
		}
		if f.Queue > 0 {
			scanners[i].Queue = f.Queue
		}
	}
	return scanners
}
