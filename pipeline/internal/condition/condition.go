// SPDX-License-Identifier: Apache-2.0

// Package condition remembers whether one thing fails or works, for log messages and
// for a status.
//
// It promises: each change is told once, when the thing begins to fail and when it
// works again, however often the result is noted meanwhile.
//
// Invariants:
//
//  1. Note returns Began only for the first error after none, and Ended only for the
//     first nil after an error.
//  2. Err returns the error with which the failure began.
//
// The package starts no goroutine. Any goroutine may call its methods.
package condition

import "sync"

// Change is what a Note changed.
type Change int

// The changes.
const (
	Same  Change = iota // nothing changed: log nothing
	Began               // it began to fail: log the error and the next step
	Ended               // it works again: log that
)

// Condition is one thing that fails or works. The zero Condition works.
type Condition struct {
	mu  sync.Mutex // guards err
	err error
}

// Note notes the result of the last attempt: nil if it succeeded.
func (c *Condition) Note(err error) Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && c.err == nil:
		c.err = err
		return Began
	case err == nil && c.err != nil:
		c.err = nil
		return Ended
	}
	return Same
}

// Err returns the error with which the failure began, or nil while it works.
func (c *Condition) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
