// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"encoding/json"
)

// The kinds of keys by which a look finds a line of journal, ledger or tries. A key is
// one letter, then a text from the line:
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

// KeysOf is the journal.KeysOf of all these lines: it calls add for each key of a line.
// The key may be used only until add returns.
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

// keysOfOthers is KeysOf for a journal line that another program wrote, with other
// spaces or another order of keys.
func keysOfOthers(line []byte, add func(key []byte)) {
	s, err := ParseLine(line)
	if err != nil {
		return // a header, or not a line of ours
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

// memberOf returns the text of a member, with its quotes, from a line as we write it,
// without spaces. In a string each quote is escaped, so a file's name can never look
// like a member.
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
