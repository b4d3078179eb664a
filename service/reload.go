// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// reloadRequest asks for a reload. answer is called once with the result. It must not
// block.
type reloadRequest struct{ answer func(error) }

// reload reads the configuration again and returns the next generation with its answer.
// If the new configuration is refused it logs that, answers, and returns nil.
func (p *process) reload(g *generation, answer func(error)) (*generation, func(error)) {
	p.say("RELOADING=1", monotonic(), "STATUS=reloading")
	s, err := Load(p.flags)
	var next *generation
	if err == nil {
		err = fixed(g.settings, s)
	}
	if err == nil {
		err = rootMayWrite(s)
	}
	if err == nil {
		next, err = p.build(s)
	}
	if err != nil {
		p.refuse(g.log, err)
		answer(err)
		p.say("READY=1", "STATUS="+p.describe(g.settings))
		return nil, nil
	}
	return next, answer
}

// fixed returns an error if the state or journal folder differs. They cannot change while
// the process runs, because it holds their locks and works on their content.
func fixed(old, s Settings) error {
	for _, f := range []struct{ key, was, is string }{
		{"state", old.Pipeline.State, s.Pipeline.State}, {"journal.dir", old.Pipeline.Journal.Dir, s.Pipeline.Journal.Dir},
	} {
		if f.was != f.is {
			return configError(fmt.Errorf("%s cannot change by a reload (from %q to %q): write the old one, or stop certpush and start it again", f.key, f.was, f.is))
		}
	}
	return nil
}

// refuse logs that the new configuration is refused, and sets the metric.
func (p *process) refuse(log *slog.Logger, err error) {
	p.reloadOK.Set(0)
	log.Error("the new configuration is refused, the old one stays in force", "error", err)
}

// askReload asks process.work for a reload and waits for the answer.
func (p *process) askReload(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case p.reloads <- reloadRequest{func(err error) { answer <- err }}:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return errors.New("the service has stopped: start it again")
	}
	select {
	case err := <-answer:
		return err
	case <-p.ended:
		return errors.New("the service has stopped: see its log")
	}
}
