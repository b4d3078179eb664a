// SPDX-License-Identifier: Apache-2.0

package service

import (
	"log/slog"

	kardianos "github.com/kardianos/service"
	"golang.org/x/sys/windows/svc"
)

// systemLog returns a handler for the Event Log when the SCM started us, else
// nil.
func (s LogSettings) systemLog(manager kardianos.Service) slog.Handler {
	if is, err := svc.IsWindowsService(); err != nil || !is || manager == nil {
		return nil
	}
	log, err := manager.SystemLogger(nil)
	if err != nil {
		return nil
	}
	event := func(write func(...any) error) slog.Handler {
		return s.handler(writerFunc(func(line string) error { return write(line) }), false)
	}
	return byLevel{debug: event(log.Info), info: event(log.Info), warn: event(log.Warning), err: event(log.Error)}
}
