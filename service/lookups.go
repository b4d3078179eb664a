// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/http"

	"github.com/certpush/certpush/pipeline"
)

// retried is the answer to `dead retry`: how many samples wait again, and how many
// cannot be pushed again.
type retried struct {
	Queued int `json:"queued"`
	Unable int `json:"unable"`
}

// lookups adds the looks into journal and ledger, and the orders that follow from them.
// All of them need the token: names of samples are confidential, and a look costs much
// reading.
func (a *admin) lookups(mux *http.ServeMux) {
	add := func(path string, do func(p *pipeline.Pipeline, r *http.Request) (any, error)) {
		mux.Handle("POST /api/v1/"+path, a.told(func(r *http.Request) (any, error) { return do(a.pipe(), r) }))
	}
	add("why", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		return p.Why(r.Context(), r.URL.Query().Get("key"))
	})
	add("verify", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		fix := r.URL.Query().Get("fix") == "true"
		if r.URL.Query().Get("read") == "true" {
			return p.VerifyRead(r.Context(), fix)
		}
		return p.Verify(r.Context(), fix)
	})
	add("dead", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		all, err := p.Dead(r.Context())
		return append([]pipeline.DeadLetter{}, all...), err
	})
	add("dead/retry", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		queued, unable, err := p.Retry(r.Context(), r.URL.Query().Get("id"))
		return retried{queued, unable}, err
	})
	add("dead/drop", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		return p.Drop(r.Context(), r.URL.Query().Get("id"))
	})
	add("pause", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		return nil, p.Pause(r.URL.Query().Get("scanner"))
	})
	add("resume", func(p *pipeline.Pipeline, r *http.Request) (any, error) {
		return nil, p.Resume(r.URL.Query().Get("scanner"))
	})
}
