// SPDX-License-Identifier: Apache-2.0

package scantest

import (
	"bytes"
	"os"
	"sync"
)

// profile keeps descriptors from a Server, as AppArmor or SELinux may. The zero profile
// keeps none.
type profile struct {
	mu     sync.Mutex // guards the fields below
	is     bool
	above  int64 // bytes
	denied int
	locked string // of files that hold this text it says that it cannot read them; empty: of none
}

// SetLocked lets it say of files that hold a text that it cannot read them, however they
// came.
func (p *profile) SetLocked(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.locked = text
}

func (p *profile) locks(body []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.locked != "" && bytes.Contains(body, []byte(p.locked))
}

// SetKept lets it get no descriptor of a file that has a name.
func (p *profile) SetKept(is bool) { p.set(is, 0) }

// SetKeptAbove is SetKept(true) of files with more bytes alone: as where a profile denies a
// tree, and not the folder in which a canary lies.
func (p *profile) SetKeptAbove(bytes int64) { p.set(true, bytes) }

func (p *profile) set(is bool, above int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.is, p.above = is, above
}

// Denied returns how many descriptors it did not get.
func (p *profile) Denied() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.denied
}

// denies reports whether it does not get a file.
func (p *profile) denies(info os.FileInfo) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.is || !named(info) || info.Size() <= p.above {
		return false
	}
	p.denied++
	return true
}
