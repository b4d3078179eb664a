// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/certpush/certpush/pipeline"
)

// Another program embeds the pipeline. It names a state folder and a tree, and gets
// each outcome. Without a scanner the built-in hash list judges.
func Example() {
	state, drop := mustTemp(), mustTemp()
	defer os.RemoveAll(state)
	defer os.RemoveAll(drop)

	ctx, stop := context.WithCancel(context.Background())
	p, err := pipeline.New(pipeline.Config{
		State: state,
		Trees: []pipeline.Tree{{Path: drop}},
		Log:   slog.New(slog.DiscardHandler),
		Outcome: func(o pipeline.Outcome) {
			fmt.Println(filepath.Base(o.Path), o.Outcome, o.Verdict, o.Reason)
			stop()
		},
	})
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(drop, "invoice.exe"), []byte("MZ"), 0o600); err != nil {
		panic(err)
	}
	if err := p.Run(ctx); err != nil {
		panic(err)
	}
	// Output: invoice.exe done unscanned not_listed
}

func mustTemp() string {
	dir, err := os.MkdirTemp("", "certpush")
	if err != nil {
		panic(err)
	}
	return dir
}
