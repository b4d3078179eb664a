// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/certpush/certpush/pipeline"
)

// Scan pushes the files at and below paths to the configured scanners now. It prints a
// line for each outcome: PATH: VERDICT SIGNATURE. The error is ErrMalicious if a file was
// malicious, and wraps a *pipeline.DownError if a scanner could not be reached.
func Scan(ctx context.Context, f Flags, paths []string, out io.Writer, errOut *os.File) error {
	s, err := Load(f)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := there(path); err != nil {
			return fmt.Errorf("scan: %s: %w: name a file or a folder that is there", cmp.Or(printable(path), `""`), err)
		}
	}
	// Without this ping, a scanner that takes connections and says nothing would hold up
	// a script for as long as a try may take.
	for _, c := range s.Pipeline.Scanners {
		if _, err := ping(ctx, c); err != nil && ctx.Err() == nil {
			return fmt.Errorf("scan: %w", err)
		}
	}
	c := s.Pipeline
	c.Log = slog.New(s.Log.handler(errOut, true))
	var bar *progressbar.ProgressBar
	if term.IsTerminal(int(errOut.Fd())) {
		bar = progressbar.NewOptions(count(paths)*max(len(c.Scanners), 1), progressbar.OptionSetWriter(errOut),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription("scan"))
		defer bar.Exit()
	}
	malicious, unjudged := false, 0
	err = pipeline.Scan(ctx, c, paths, func(o pipeline.Outcome) {
		if bar != nil {
			bar.Clear()
		}
		fmt.Fprintln(out, outcomeLine(o, len(c.Scanners) > 1))
		if bar != nil {
			bar.Add(1)
		}
		malicious = malicious || o.Verdict == "malicious"
		if o.Outcome != pipeline.Done {
			unjudged++
		}
	})
	switch {
	case ctx.Err() != nil:
		return errors.New("scan: interrupted: files without a line have no verdict, name them again")
	case err != nil:
		return fmt.Errorf("scan: %w: see certpush check", err)
	case malicious:
		return ErrMalicious
	case unjudged > 0:
		return fmt.Errorf("scan: files without a verdict: %d: their lines say why", unjudged)
	}
	return nil
}

// there returns an error if nothing is at path. The error does not hold the path, because
// that must not be shown as it is.
func there(path string) error {
	_, err := os.Lstat(path)
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// outcomeLine returns PATH: VERDICT SIGNATURE REASON. If there is no verdict the outcome
// stands in its place. With named the scanner's name is in it too.
func outcomeLine(o pipeline.Outcome, named bool) string {
	words := []string{printable(o.Path) + ":"}
	if named {
		words = append(words, o.Scanner+":")
	}
	what := string(o.Verdict)
	if o.Outcome != pipeline.Done {
		what = o.Outcome
	}
	words = append(words, what)
	for _, text := range []string{o.Signature, o.Reason} {
		if text != "" {
			words = append(words, printable(text))
		}
	}
	return strings.Join(words, " ")
}

// count returns how many files there are, for the progress bar. It leaves out those in
// folders that cannot be read.
func count(paths []string) int {
	n := 0
	for _, path := range paths {
		if err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return nil
		}); err != nil {
			continue
		}
	}
	return n
}
