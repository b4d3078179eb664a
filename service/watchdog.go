// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"os"
	"strconv"
	"time"
)

// tellEvery is how often the manager is told our sentence at least.
const tellEvery = 5 * time.Second

// watchdogEvery returns how often we have to feed the manager's watchdog: three times in
// its limit. It returns 0 if none is set for this process.
func watchdogEvery() time.Duration {
	n, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || n <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 3
}

// tellManager tells the manager each new sentence about us, and feeds its watchdog while
// the pipeline is not stuck, until ctx ends. If the pipeline is stuck, or holds a lock
// for ever, it does not feed the watchdog, and the manager starts the process anew.
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
			// The pipeline waits for a state that the disk does not let us open.
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
