// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"os"
	"syscall"
	"time"

	kardianos "github.com/kardianos/service"
)

// stopLimit is how long a stop may take, stopGrace how long workers have of it to
// finish what they hold; after that they give it back. At a shutdown Windows
// waits five seconds, and kardianos/service asks for no more. What is given back
// is in the journal.
const (
	stopLimit = 4 * time.Second
	stopGrace = 2 * time.Second
)

// stopSignals are Ctrl-C, and with SIGTERM a closed console, a logoff and a
// shutdown, for who runs it by hand.
func stopSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// reloadSignals is empty: `certpush reload` asks the admin endpoint.
func reloadSignals() []os.Signal { return nil }

// run runs the process until it is stopped or its work has ended. At a terminal
// kardianos/service would hear Ctrl-C alone.
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

// errOverdue is in the log by then.
var errOverdue = &ToldError{errors.New("the stop took too long")}

// stopped keeps an error, which is logged, from the service manager: it would
// take it for a failure and start again what it was told to stop.
func stopped(error) error { return nil }

// failed ends the process under the service manager: there run waits for a stop
// that nobody sends, and only what died is started again.
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
