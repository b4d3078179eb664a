// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestPlaces(t *testing.T) {
	found := scanPlaces(`a = 1 # b = 2
"q.x"  =  'v' ; 
'single' = """
fake = 1
[fake]
\""" """
[t.'u v'.w]
k.l = [ 1, # fake = 2
  "],", {m = 3, n = '''x
y'''}, [4]]
[[arr]]
x = 1
  [arr.sub]
  y = 2
[[arr]]
	é = { z.y = 1, w = 2 }
[[arr.deep]]
[[arr.deep]]
v=""
`)
	for key, want := range map[string]spot{
		"a":                   {place{1, 1}, place{1, 5}},
		`"q.x"`:               {place{2, 1}, place{2, 11}},
		"single":              {place{3, 1}, place{3, 12}},
		`t."u v".w.k.l`:       {place{8, 1}, place{8, 7}},
		`t."u v".w.k.l[2]`:    {place{9, 3}, place{9, 3}},
		`t."u v".w.k.l[3].m`:  {place{9, 10}, place{9, 14}},
		`t."u v".w.k.l[3].n`:  {place{9, 17}, place{9, 21}},
		`t."u v".w.k.l[4][1]`: {place{10, 9}, place{10, 9}},
		"arr[1]":              {place{11, 1}, place{11, 1}},
		"arr[1].sub.y":        {place{14, 3}, place{14, 7}},
		"arr[2]":              {place{15, 1}, place{15, 1}},
		`arr[2]."\u00e9".z.y`: {place{16, 8}, place{16, 14}},
		`arr[2]."\u00e9".w`:   {place{16, 17}, place{16, 21}},
		"arr[2].deep[2].v":    {place{19, 1}, place{19, 3}},
	} {
		if got, ok := found[key]; !ok || got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	for key := range found {
		if strings.Contains(key, "fake") {
			t.Errorf("%s is not a key", key)
		}
	}
}

// FuzzPlaces: each key that the decoder sees has a place inside the text.
func FuzzPlaces(f *testing.F) {
	f.Add(exampleConfig(f))
	f.Add(short)
	f.Fuzz(func(t *testing.T, text string) {
		found := scanPlaces(text)
		lines := strings.Count(text, "\n") + 1
		for key, s := range found {
			if s.key.line < 1 || s.value.line > lines || s.key.col < 1 || s.value.col < 1 {
				t.Fatalf("%s: %v", key, s)
			}
		}
		raw := map[string]any{}
		if _, err := toml.Decode(text, &raw); err != nil {
			return
		}
		everyKey("", raw, 0, func(key string) {
			if _, ok := found[key]; !ok {
				t.Fatalf("%s has no place in %q: %v", key, text, found)
			}
		})
	})
}

func everyKey(key string, v any, depth int, each func(string)) {
	if depth > maxDepth/2 {
		return
	}
	if key != "" {
		each(key)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, sub := range v {
			everyKey(join(key, name), sub, depth+1, each)
		}
	case []map[string]any:
		for i, sub := range v {
			everyKey(element(key, i+1), sub, depth+1, each)
		}
	case []any:
		for i, sub := range v {
			everyKey(element(key, i+1), sub, depth+1, each)
		}
	}
}

// FuzzLoad: any text is either read, or refused with problems that have a place.
func FuzzLoad(f *testing.F) {
	f.Add(exampleConfig(f))
	f.Add(short)
	f.Add("watch = [{path='/a'}, {path=1}]\nscanner.x.backoff = 1")
	f.Fuzz(func(t *testing.T, text string) {
		table, b, whole := parse(text)
		bad := b.problems
		s, keys := convert(table, b, Flags{})
		if whole {
			checkTrees(b, s, keys)
		} else { // as Load does: only the syntax has a place
			b.problems = bad
		}
		for _, p := range b.problems {
			if p.Line < 1 || p.Col < 1 || p.What == "" {
				t.Fatalf("%q: %+v", text, p)
			}
		}
	})
}
