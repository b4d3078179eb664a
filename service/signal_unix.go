// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// stopLimit is how long a stop may take, stopGrace how long workers have of it to
// finish what they hold; after that they give it back.
const (
	stopLimit = 20 * time.Second
	stopGrace = 8 * time.Second
)

func stopSignals() []os.Signal   { return []os.Signal{syscall.SIGTERM, os.Interrupt} }
func reloadSignals() []os.Signal { return []os.Signal{syscall.SIGHUP} }

// run runs the process until it is stopped or its work has ended.
func (p *process) run() error { return p.manager.Run() }

// stopped returns what the process ends with after a stop.
func stopped(err error) error { return err }

// failed does nothing here: the manager's Run returns when the work has ended.
func failed(error) {}

// hangup has the process with this number read its configuration again: systemd
// names it to what it runs for a reload.
func hangup(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && n > 1 && syscall.Kill(n, syscall.SIGHUP) == nil
}
