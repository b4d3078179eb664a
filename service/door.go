// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline"
)

// door keeps the admin endpoint open where the configuration in force has it.
type door struct {
	p     *process
	at    endpoint
	shut  context.CancelFunc // nil while closed
	noted *endpoint
	all   sync.WaitGroup
	token atomic.Pointer[string] // nil or empty: no orders are taken
}

// open opens the endpoint of g. A door that is at the right place already stays
// as it is; the old one closes in its own time, since it may be the one that a
// reload is answered through. An address in use is logged, and the service goes
// on without: files are worth more than a page.
//
// While the state is not open yet nothing is written there: orders are taken by
// the token that it has from before.
func (d *door) open(g *generation, begun bool) {
	want, err := parseListen(g.settings.Listen)
	if err != nil {
		g.log.Error("admin endpoint stays closed", "error", err)
		return
	}
	base := want
	want = want.of(d.p.flags.Half)
	if d.shut != nil && want == d.at {
		if d.now() == "" {
			d.findToken(g, begun)
		}
		d.note(g, base, begun)
		return
	}
	if d.shut != nil {
		d.shut()
		d.shut = nil
	}
	if want == (endpoint{}) {
		d.note(g, base, begun)
		return
	}
	ctx, shut := context.WithCancel(context.Background())
	l, err := want.listen(ctx)
	if err != nil {
		shut()
		g.log.Error("admin endpoint stays closed; set another [admin] listen and reload", "listen", want.String(), "error", err)
		return
	}
	d.findToken(g, begun)
	host, _, _ := net.SplitHostPort(want.address)
	a := &admin{
		status: d.p.status, token: d.now, host: host, unix: want.network == "unix", log: g.log,
		ready:  func() error { return d.p.current.Load().pipe.Ready() },
		sweep:  func(tree string) error { return d.p.current.Load().pipe.Sweep(tree) },
		pipe:   func() *pipeline.Pipeline { return d.p.current.Load().pipe },
		reload: d.p.askReload,
		metrics: func() prometheus.Gatherer {
			return prometheus.Gatherers{d.p.registry, d.p.current.Load().registry}
		},
	}
	d.at, d.shut = want, shut
	d.note(g, base, begun)
	d.all.Go(func() {
		if err := a.serve(ctx, l); err != nil {
			g.log.Error("admin endpoint has ended; restart certpush to open it again", "error", err)
		}
	})
	g.log.Info("admin endpoint is open", "listen", want.String())
}

// note leaves word of where the door is, once the state is open.
func (d *door) note(g *generation, at endpoint, begun bool) {
	if !begun || d.noted != nil && *d.noted == at {
		return
	}
	if err := noteListen(g.settings.Pipeline.State, at); err != nil {
		g.log.Warn("admin endpoint's address cannot be noted; should it change, reload by a signal", "error", err)
		return
	}
	d.noted = &at
}

// findToken reads the token, and makes it where it is missing.
func (d *door) findToken(g *generation, begun bool) {
	find := readToken
	if begun {
		find = openToken
	}
	token, err := find(g.settings.Pipeline.State)
	if err != nil && begun {
		g.log.Error("admin endpoint answers, but takes no orders without a token", "error", err)
	}
	d.token.Store(&token)
}

// now returns the token, empty while there is none.
func (d *door) now() string {
	if token := d.token.Load(); token != nil {
		return *token
	}
	return ""
}

// close shuts the door and waits until nobody is served any more.
func (d *door) close() {
	if d.shut != nil {
		d.shut()
	}
	d.all.Wait()
}
