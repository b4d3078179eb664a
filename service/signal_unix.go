// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// stopLimit is how long a stop may take. stopGrace is how long workers have to finish
// their samples; after that the samples are pushed again at the next start.
const (
	stopLimit = 20 * time.Second
	stopGrace = 8 * time.Second
)

func stopSignals() []os.Signal   { return []os.Signal{syscall.SIGTERM, os.Interrupt} }
func reloadSignals() []os.Signal { return []os.Signal{syscall.SIGHUP} }

// run runs the process until it is stopped or its work has ended.
func (p *process) run() error { return p.manager.Run() }

// stopped returns the error with which the process ends after a stop.
func stopped(err error) error { return err }

// failed does nothing here: the manager's Run returns when the work has ended.
func failed(error) {}

// hangup sends SIGHUP to the process pid, so that it reads its configuration again. It
// returns false if pid is not a process to which we may send it. systemd passes pid to
// the program that it runs for a reload.
func hangup(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && n > 1 && syscall.Kill(n, syscall.SIGHUP) == nil
}
