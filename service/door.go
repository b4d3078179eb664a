// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline"
)

// door keeps the admin endpoints open: the one of the configuration in force, and the
// socket for the command's own orders. Only the goroutine of process.work uses it; the
// token is read by those that serve.
type door struct {
	p      *process
	public gate                   // admin.listen
	own    gate                   // the command's; never open where peers are not known
	listen *endpoint              // the address that is noted in the state folder; nil: none yet
	noted  *note                  // what is noted of both; nil: nothing yet
	all    sync.WaitGroup         // the endpoints that serve, also those that are closing
	token  atomic.Pointer[string] // nil or empty: only trusted peers may give orders
	nonces *nonces
}

// gate is one endpoint.
type gate struct {
	at   endpoint
	shut context.CancelFunc // nil while closed
}

func newDoor(p *process) *door { return &door{p: p, nonces: newNonces()} }

// open opens the endpoints of g. One that is open at its address already stays as it is.
// Otherwise the old endpoint closes and open does not wait for it, because a reload may
// be answered through it. If an address cannot be opened, that is logged, and the service
// runs without it.
//
// begun says that the pipeline has opened its state. Before that, open writes no file
// there, and takes the token that is there from before.
func (d *door) open(g *generation, begun bool) {
	base, err := parseListen(g.settings.Listen)
	if err != nil {
		g.log.Error("admin endpoint stays closed", "error", err)
		return
	}
	if begun || d.now() == "" {
		d.findToken(g, begun)
	}
	own, public := ownSocket(g.settings.Pipeline.State).of(d.p.flags.Half), base.of(d.p.flags.Half)
	if own == public {
		public = endpoint{} // one socket serves both
	}
	switch opened, err := d.move(&d.own, own, g); {
	case opened:
		g.log.Info("the command's own socket is open", "socket", own.String())
	case err != nil && begun: // before that its folder may not be there yet
		g.log.Error("the command's own socket stays closed, and takes no orders; move away what is in its place and reload", "socket", own.String(), "error", err)
	}
	switch opened, err := d.move(&d.public, public, g); {
	case opened:
		g.log.Info("admin endpoint is open", "listen", public.String())
	case err != nil:
		g.log.Error("admin endpoint stays closed; set another [admin] listen and reload", "listen", public.String(), "error", err)
	}
	if begun {
		d.note(g, base)
	}
}

// move closes a gate unless it is at the place that is wanted, and opens it there. It
// returns whether it opened it, or why it could not.
func (d *door) move(at *gate, want endpoint, g *generation) (opened bool, err error) {
	if at.shut != nil && want == at.at {
		return false, nil
	}
	if at.shut != nil {
		at.shut()
		*at = gate{}
	}
	if want == (endpoint{}) {
		return false, nil
	}
	ctx, shut := context.WithCancel(context.Background())
	l, err := want.listen(ctx)
	if err != nil {
		shut()
		return false, err
	}
	*at = gate{want, shut}
	a := d.admin(want, g)
	d.all.Go(func() {
		if err := a.serve(ctx, l); err != nil {
			g.log.Error("admin endpoint has ended; restart certpush to open it again", "error", err)
		}
	})
	return true, nil
}

// admin returns what serves at an endpoint.
func (d *door) admin(at endpoint, g *generation) *admin {
	host, _, _ := net.SplitHostPort(at.address)
	return &admin{
		status: d.p.status, token: d.now, nonces: d.nonces, host: host, unix: at.network == "unix", log: g.log,
		sweep:  func(tree string) error { return d.p.current.Load().pipe.Sweep(tree) },
		pipe:   func() *pipeline.Pipeline { return d.p.current.Load().pipe },
		reload: d.p.askReload,
		metrics: func() prometheus.Gatherer {
			return prometheus.Gatherers{d.p.registry, d.p.current.Load().registry}
		},
	}
}

// note writes into the state folder where the endpoints are. The state is open, so we hold
// its lock: the command believes the note.
func (d *door) note(g *generation, listen endpoint) {
	state := g.settings.Pipeline.State
	now := note{PID: os.Getpid()}
	if d.own.shut != nil {
		now.Socket = d.own.at.address
	}
	if !knowsPeers && d.public.shut != nil && d.public.at.network == "tcp" {
		now.Listen = d.public.at.address
	}
	var errs []error
	if d.noted == nil || *d.noted != now {
		if err := now.save(state, d.p.flags.Half); err != nil {
			errs = append(errs, err)
		} else {
			d.noted = &now
		}
	}
	if d.listen == nil || *d.listen != listen {
		if err := noteListen(state, listen); err != nil {
			errs = append(errs, err)
		} else {
			d.listen = &listen
		}
	}
	if err := errors.Join(errs...); err != nil {
		g.log.Warn("admin endpoint's address cannot be noted; should it change, reload by a signal", "error", err)
	}
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

// close closes the endpoints and waits until no request runs any more.
func (d *door) close() {
	for _, g := range []gate{d.own, d.public} {
		if g.shut != nil {
			g.shut()
		}
	}
	d.all.Wait()
}
