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

// door keeps the admin endpoint open at the address of the configuration in force. Only
// the goroutine of process.work uses it; the token is read by those that serve.
type door struct {
	p     *process
	at    endpoint
	shut  context.CancelFunc     // nil while closed
	noted *endpoint              // the address that is noted in the state folder; nil: none yet
	all   sync.WaitGroup         // the endpoints that serve, also those that are closing
	token atomic.Pointer[string] // nil or empty: only trusted peers may give orders
}

// open opens the endpoint of g. If it is open at that address already, it stays as it
// is. Otherwise the old endpoint closes and open does not wait for it, because a reload
// may be answered through it. If the new address cannot be opened, that is logged, and
// the service runs without an endpoint.
//
// begun says that the pipeline has opened its state. Before that, open writes nothing
// there, and takes the token that is there from before.
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

// note writes the address of the endpoint into the state folder, once the state is open.
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

// findToken reads the token. Once the state is open it makes a missing one.
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

// now returns the token, or "" while there is none.
func (d *door) now() string {
	if token := d.token.Load(); token != nil {
		return *token
	}
	return ""
}

// close closes the endpoint and waits until no request runs any more.
func (d *door) close() {
	if d.shut != nil {
		d.shut()
	}
	d.all.Wait()
}
