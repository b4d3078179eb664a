// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"sync"

	"github.com/certpush/certpush/pipeline/scan"
)

// copySmall is the size in bytes up to which a sample is always copied before it is
// hashed and handed over.
const copySmall = 256 << 10

// Copies bounds the memory in which samples are copied, for all scanners together.
type Copies struct {
	mu   sync.Mutex // guards left
	left int64      // bytes
}

// NewCopies returns Copies of at most so many bytes.
func NewCopies(bytes int64) *Copies { return &Copies{left: bytes} }

// take returns an empty copy for size bytes, to be passed by its descriptor or not. ok is
// false if there is no room for it.
func (c *Copies) take(size int64, passed bool) (k *sealed, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > c.left {
		return nil, false
	}
	made, err := scan.NewCopy(size, passed)
	if err != nil {
		return nil, false // for want of descriptors or memory: the sample goes uncopied
	}
	c.left -= size
	return &sealed{Copy: made, of: c, size: size}, true
}

// sealed is a copy of a sample. The one push that it was made for has it.
type sealed struct {
	*scan.Copy
	of   *Copies
	size int64
}

// drop gives the copy's memory back.
func (k *sealed) drop() {
	_ = k.Close() // the bytes were only read: an error loses nothing
	k.of.mu.Lock()
	k.of.left += k.size
	k.of.mu.Unlock()
}
