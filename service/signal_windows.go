// SPDX-License-Identifier: Apache-2.0

package service

import "os"

func stopSignals() []os.Signal   { return []os.Signal{os.Interrupt} }
func reloadSignals() []os.Signal { return nil }

// failed ends the process: under the SCM Run waits for a stop that nobody sends,
// and only a process that died is started again.
func failed(err error) { os.Exit(Code(err)) }
