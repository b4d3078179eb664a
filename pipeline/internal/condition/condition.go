// SPDX-License-Identifier: Apache-2.0

// Package condition is "it fails now, it works again", for messages and for whoever
// asks.
//
// It promises: each condition is told once when it begins and once when it ends,
// however often it is looked at meanwhile.
//
// Invariants:
//
//  1. Note returns Began only for the first error after none, and Ended only for the
//     first nil after an error.
//  2. Err is the error with which the condition began.
//
// The package starts no goroutine. Any goroutine may call its methods.
package condition

import "sync"

// Change is what a Note changed.
type Change int

// The changes.
const (
	Same  Change = iota // it goes on as it was: nothing is to be said
	Began               // it works no more: say it with the error and the next step
	Ended               // it works again: say so
)

// Condition is one thing that fails now, or works. The zero Condition works.
type Condition struct {
	mu  sync.Mutex // guards err
	err error
}

// Note takes the result of the last attempt, nil when it succeeded.
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

// Err returns the error with which it began to fail, nil while it works.
func (c *Condition) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
