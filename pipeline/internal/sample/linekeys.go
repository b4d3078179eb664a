// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"encoding/json"
)

// The keys of a line of journal, ledger or tries, by which a look finds it: a
// letter, then what the line says.
//
//	i  id            a  LANE:SEGMENT:OFFSET
//	p  path, raw     s  SHA-256
//	m  (nothing more) of a manual line
const (
	ByID     = "i"
	ByPath   = "p"
	ByPlace  = "a"
	ByHash   = "s"
	ByManual = "m"
)

// KeysOf is journal.KeysOf for all of them.
func KeysOf(line []byte, add func(key []byte)) {
	if path, ok := barePath(line); ok {
		add(append([]byte(ByPath), path...))
		return
	}
	if !bytes.HasPrefix(line, []byte(`{"id":"`)) && !bytes.HasPrefix(line, []byte(`{"time":"`)) {
		keysOfOthers(line, add)
		return
	}
	key := make([]byte, 0, 512)
	for _, m := range keyMembers {
		value, ok := memberOf(line, m.name)
		if !ok {
			continue
		}
		switch key = append(key[:0], m.by...); {
		case m.by == ByPath && m.raw:
			var raw []byte
			if json.Unmarshal(value, &raw) != nil {
				continue
			}
			key = append(key, raw...)
		case bytes.IndexByte(value, '\\') >= 0:
			var text string
			if json.Unmarshal(value, &text) != nil {
				continue
			}
			key = append(key, text...)
		default:
			key = append(key, value[1:len(value)-1]...)
		}
		add(key)
	}
	if bytes.Contains(line, []byte(`"via":"manual"`)) {
		add([]byte(ByManual))
	}
}

// keysOfOthers is keysOf for a line that another program wrote, in its own way.
func keysOfOthers(line []byte, add func(key []byte)) {
	s, err := ParseLine(line)
	if err != nil {
		return // a header, or nothing of ours
	}
	add([]byte(ByID + s.ID))
	add([]byte(ByPath + s.Path))
	if s.Via == ViaManual {
		add([]byte(ByManual))
	}
}

var keyMembers = []struct {
	by, name string
	raw      bool // base64
}{
	{ByID, `"id":`, false}, {ByPath, `"path":`, false}, {ByPath, `"path_b64":`, true}, {ByHash, `"sha256":`, false}, {ByPlace, `"at":`, false},
}

// memberOf returns the text, in its quotes, of a member of a line as we write it,
// without spaces. Within a string each quote is escaped, so no name of a file can
// pass for a member.
func memberOf(line []byte, name string) ([]byte, bool) {
	_, rest, ok := bytes.Cut(line, []byte(name))
	if !ok || len(rest) == 0 || rest[0] != '"' {
		return nil, false
	}
	for end := 1; ; {
		i := bytes.IndexByte(rest[end:], '"')
		if i < 0 {
			return nil, false
		}
		end += i
		slashes := 0
		for rest[end-1-slashes] == '\\' {
			slashes++
		}
		end++
		if slashes%2 == 0 {
			return rest[:end], true
		}
	}
}
