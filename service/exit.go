// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"io/fs"

	"github.com/certpush/certpush/pipeline"
)

// The exit codes of the command.
const (
	ExitOK          = 0
	ExitFailure     = 1  // any other error
	ExitMalicious   = 2  // scan: something was malicious
	ExitStopped     = 3  // service status: it does not run
	ExitAbsent      = 4  // service status: it is not installed
	ExitUsage       = 64 // the command line is wrong
	ExitUnavailable = 69 // a scanner is unreachable
	ExitLocked      = 75 // another process holds the state folder
	ExitPermission  = 77 // permission denied
	ExitConfig      = 78 // the configuration is wrong
)

// coded is an error with its exit code.
type coded struct {
	code int
	err  error
}

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.err }

// ErrMalicious is the error of Scan if a file was malicious.
var ErrMalicious = errors.New("something was malicious")

// Told returns an error with an exit code, of which everything was said already.
func Told(code int, text string) error { return &ToldError{&coded{code, errors.New(text)}} }

// Usage marks err as a mistake on the command line.
func Usage(err error) error { return &coded{ExitUsage, err} }

func configError(err error) error { return &coded{ExitConfig, err} }

// Code returns the exit code for err.
func Code(err error) int {
	var c *coded
	var bad *ConfigError
	var down *pipeline.DownError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &bad):
		return ExitConfig
	case errors.Is(err, ErrMalicious):
		return ExitMalicious
	case errors.Is(err, pipeline.ErrLocked):
		return ExitLocked
	case errors.As(err, &down):
		return ExitUnavailable
	case errors.Is(err, fs.ErrPermission):
		return ExitPermission
	}
	return ExitFailure
}
