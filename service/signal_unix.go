// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"os"
	"syscall"
)

func stopSignals() []os.Signal   { return []os.Signal{syscall.SIGTERM, os.Interrupt} }
func reloadSignals() []os.Signal { return []os.Signal{syscall.SIGHUP} }

// failed does nothing here: the manager's Run returns when the work has ended.
func failed(error) {}
