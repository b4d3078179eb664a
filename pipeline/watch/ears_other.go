// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

import (
	"context"
	"os"
)

// Ears are for the engine fanotify, which is for Linux alone.
type Ears struct{}

// NewEars returns Ears that hear nothing.
func NewEars(map[uint64]*os.File) *Ears { return &Ears{} }

// Run waits until ctx ends.
func (e *Ears) Run(ctx context.Context) { <-ctx.Done() }

// TryEar is for Linux.
func TryEar(string) error { return ErrEngine }

// newFanotify is never called: New refuses the engine.
func newFanotify(*tree) (source, error) { return nil, ErrEngine }

// fanotifyNext is for newFanotify.
func fanotifyNext(error) string { return "" }
