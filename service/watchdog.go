// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"os"
	"strconv"
	"time"
)

// tellEvery is how often the manager is told the one sentence, where no watchdog
// asks for more.
const tellEvery = 5 * time.Second

// watchdogEvery returns how often the manager's watchdog is to be fed, 0 when
// none is set for this process.
func watchdogEvery() time.Duration {
	n, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || n <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 3
}

// tellManager keeps the manager's sentence about us fresh, and feeds its watchdog
// as long as the pipeline moves or has no reason to. Where it is stuck, or a lock
// is never let go, the watchdog goes hungry and the manager starts us anew.
func (p *process) tellManager(ctx context.Context) {
	every := watchdogEvery()
	fed := every > 0
	if !fed {
		every = tellEvery
	}
	look := time.NewTicker(min(every, tellEvery))
	defer look.Stop()
	said, hungry := "", false
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		g := p.current.Load()
		if g == nil {
			continue
		}
		err := g.pipe.Stuck()
		if err != nil && !hungry {
			g.log.Error("the pipeline does not move; the watchdog is not fed, and the manager starts certpush anew: report this", "error", err)
		}
		hungry = err != nil
		var lines []string
		if g.pipe.Status().Started.IsZero() {
			// A state that the disk does not let us open is waited for.
			lines = append(lines, "EXTEND_TIMEOUT_USEC=60000000")
		}
		if fed && !hungry {
			lines = append(lines, "WATCHDOG=1")
		}
		if text := p.describe(g.settings); text != said {
			said = text
			lines = append(lines, "STATUS="+text)
		}
		if len(lines) > 0 {
			p.say(lines...)
		}
	}
}
