// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"os"
	"syscall"
	"time"
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

// stopped keeps an error, which is logged, from the service manager: it would
// take it for a failure and start again what it was told to stop.
func stopped(error) error { return nil }

// failed ends the process: under the service manager Run waits for a stop that
// nobody sends, and only what died is started again.
func failed(err error) {
	if told := (*ToldError)(nil); !errors.As(err, &told) {
		lament(err)
	}
	os.Exit(Code(err))
}
