// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// Canary is the file that a scanner must call malicious: the path of one, or EICAR. The
// old forms true and false are read too: false is sight = "0".
type Canary struct {
	file string
	off  bool
}

func (c *Canary) set(v any) error {
	if on, is := v.(bool); is {
		*c = Canary{off: !on}
		return nil
	}
	var p Path
	if err := p.set(v); err != nil {
		return fmt.Errorf(`%w; without the line it is EICAR`, err)
	}
	*c = Canary{file: string(p)}
	return nil
}

// Depth is how large the largest canary is: a Size, or "full".
type Depth int64

func (d *Depth) set(v any) error {
	if v == "full" {
		*d = -1
		return nil
	}
	var s Size
	if err := s.set(v); err != nil {
		return fmt.Errorf(`%w, or write "full"`, err)
	}
	if s == 0 {
		return errors.New(`"0" is not a depth: write for example "64 MiB", or "full" for max_size`)
	}
	*d = Depth(s)
	return nil
}

// CopyOf says which samples are copied before they are handed over: "small" or "always".
type CopyOf string

func (c *CopyOf) set(v any) error {
	text, _ := v.(string)
	if text != "small" && text != "always" {
		return fmt.Errorf(`%v is neither of the two: write "small" or "always"`, v)
	}
	*c = CopyOf(text)
	return nil
}

// sight sets what a scanner's table says of canaries and copies.
func (t scannerTable) sight(s *pipeline.Scanner, b *binder, key string) {
	s.Sight, s.SightDepth, s.Copy = time.Duration(t.Sight), int64(t.Depth), t.Copy == "always"
	if t.Sight > 0 && t.Sight < Duration(time.Second) {
		b.wrong(join(key, "sight"), "%v is too short, canaries would never rest: write for example \"10m\"", time.Duration(t.Sight))
	}
	if t.Sight == 0 || t.Canary.off {
		s.Sight = -1
	}
	if t.Canary.file != "" {
		s.Canary = absolute(b, join(key, "canary"), t.Canary.file)
	}
	if t.Type != "hashlist" && t.Type != "discard" {
		return
	}
	for _, name := range []string{"sight", "sight_depth", "canary"} {
		if _, given := b.places[join(key, name)]; given && (name != "canary" || strings.TrimSpace(t.Canary.file) != "") {
			b.odd(join(key, name), "type %s never calls a sample clean, so no canary asks it: take the line out", t.Type)
		}
	}
}
