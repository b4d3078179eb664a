// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
)

// errInside says that one of the state's own files may not be read or written,
// although the folder may be: it is waited for.
var errInside = errors.New("a file of the state is not ours to use: let the user that certpush runs as read and write it")

func inside(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", errInside, err)
	}
	return err
}

// What a disk can keep a consumer from, as Ready says it.
const (
	readsJournal = "the journal cannot be read, and pushing waits"
	writesLedger = "the ledger cannot be written, and pushing waits"
	opensSamples = "samples cannot be opened for want of descriptors or memory, and wait"
)

// heed notes what the disk refuses, or with nil that it does no more.
func (c *consumer) heed(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.refused, what)
		return
	}
	c.refused[what] = err
}

// ready is nil while the disk refuses nothing that pushing needs.
func (c *consumer) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, what := range []string{readsJournal, writesLedger, opensSamples} {
		if err := c.refused[what]; err != nil {
			errs = append(errs, fmt.Errorf("scanner %s: %s: %w", c.c.Name, what, err))
		}
	}
	return errors.Join(errs...)
}
