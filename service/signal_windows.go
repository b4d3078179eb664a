// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"os"
	"syscall"
	"time"

	kardianos "github.com/kardianos/service"
)

// stopLimit is how long a stop may take. stopGrace is how long workers have to finish
// their samples; after that the samples are pushed again at the next start. At a shutdown
// Windows waits five seconds, and kardianos/service does not ask for more.
const (
	stopLimit = 4 * time.Second
	stopGrace = 2 * time.Second
)

// stopSignals are Ctrl-C, and SIGTERM, which stands for a closed console, a logoff and a
// shutdown. They come only if a user runs the program by hand.
func stopSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// reloadSignals is empty: `certpush reload` asks the admin endpoint.
func reloadSignals() []os.Signal { return nil }

// run runs the process until it is stopped or its work has ended. At a terminal it does
// not use kardianos/service, which hears only Ctrl-C there.
func (p *process) run() error {
	if !kardianos.Interactive() {
		return p.manager.Run()
	}
	if err := p.Start(p.manager); err != nil {
		return err
	}
	p.wait()
	if err := p.Stop(p.manager); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	default:
		return errOverdue
	}
}

// errOverdue is the error if a stop takes longer than stopLimit. Stop has logged it.
var errOverdue = &ToldError{errors.New("the stop took too long")}

// stopped returns nil after a stop. The error is in the log. If the service manager saw
// it, it would take it for a failure and start the service again.
func stopped(error) error { return nil }

// failed ends the process under the service manager, with the code of err. There run
// waits for a stop that nobody sends, and the manager starts only a process that ended.
func failed(err error) {
	if kardianos.Interactive() {
		return
	}
	if told := (*ToldError)(nil); !errors.As(err, &told) {
		lament(err)
	}
	os.Exit(Code(err))
}

// hangup is for systemd.
func hangup(string) bool { return false }
