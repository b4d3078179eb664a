// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// Pause stops pushing to the named scanner until Resume, also over restarts: its
// samples are journaled and wait. Those in flight end.
func (p *Pipeline) Pause(scanner string) error { return p.pause(scanner, true) }

// Resume lets pushing to the named scanner go on.
func (p *Pipeline) Resume(scanner string) error { return p.pause(scanner, false) }

func (p *Pipeline) pause(scanner string, on bool) error {
	_, consumers, _ := p.halves()
	if len(consumers) == 0 {
		return errNoConsumer
	}
	i := slices.IndexFunc(consumers, func(c *consumer) bool { return c.c.Name == scanner })
	if i < 0 {
		var names []string
		for _, c := range consumers {
			names = append(names, c.c.Name)
		}
		return fmt.Errorf("no scanner is named %q: name one of %s", scanner, strings.Join(names, ", "))
	}
	return consumers[i].pause(on)
}

// A scanner that is paused has an empty file SCANNER.paused beside its cursors.
func (c *consumer) pauseFile() string { return c.c.Name + ".paused" }

// loadPause keeps a scanner paused over a restart.
func (c *consumer) loadPause() error {
	_, err := c.cursors.Lstat(c.pauseFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether scanner %s is paused: %w", c.c.Name, err)
	}
	c.health.pause(true)
	c.log.Warn("scanner is paused since before the start; its samples wait: `certpush resume` lets them go")
	return nil
}

// pause stops pushing at once, and says that it succeeded only when a restart
// will know it too.
func (c *consumer) pause(on bool) (err error) {
	if on {
		// A crash here: it is paused or not, and was not said to be either.
		err = journal.SaveText(c.cursors, c.pauseFile(), "")
	} else if err = c.cursors.Remove(c.pauseFile()); err == nil || errors.Is(err, fs.ErrNotExist) {
		err = c.cursors.Sync()
	}
	if changed := c.health.pause(on); changed && on {
		c.log.Warn("scanner is paused; its samples wait: `certpush resume` lets them go")
	} else if changed {
		c.log.Info("scanner is resumed")
	}
	if err != nil {
		return fmt.Errorf("it is so now, but will not be after a restart: %w", err)
	}
	return nil
}
