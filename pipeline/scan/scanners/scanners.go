// SPDX-License-Identifier: Apache-2.0

// Package scanners picks the driver for a type of scanner.
//
// It promises: each type that the configuration may name has one driver, and it is the
// only package that knows them all.
//
// Invariants:
//
//  1. A type that has no driver is an error with ErrType inside, never a default.
//  2. New connects to nothing, reads nothing and starts nothing.
//
// The package has no goroutine and no lock.
package scanners

import (
	"errors"
	"fmt"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/clamd"
	"github.com/certpush/certpush/pipeline/scan/hashlist"
)

// ErrType is in the error of New for an unknown Config.Type.
var ErrType = errors.New("unknown scanner type")

// New returns the Scanner that c describes. The error wraps ErrType for a type that has
// no driver. A bad or missing address is an error that says what to write instead.
func New(c scan.Config) (scan.Scanner, error) {
	switch c.Type {
	case "clamd":
		return clamd.New(c)
	case "hashlist":
		return hashlist.New(c), nil
	case "discard":
		return scan.Discard{}, nil
	}
	return nil, fmt.Errorf("make scanner: %w %q: known are clamd, hashlist, discard", ErrType, c.Type)
}
