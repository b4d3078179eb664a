// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

// newInotify is never called: New refuses the engine.
func newInotify(*watches) (source, error) { return nil, ErrEngine }
