// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// look asks the running service at path and returns its answer. If no service runs it
// calls atRest, which takes the locks of the state folder; a nil atRest is not called. A
// look has no time limit.
func look[T any](ctx context.Context, f Flags, path string, atRest func(*pipeline.Pipeline) (T, error)) (T, error) {
	var answer T
	bodies, err := lookVia(ctx, f, path)
	var nobody silence
	if errors.As(err, &nobody) && atRest != nil {
		fmt.Fprintln(os.Stderr, graded("certpush: no certpush answers for this state; what follows is told from the disk"))
		s, bad := Load(f)
		if bad != nil {
			return answer, bad
		}
		if bad := becomeOwner(s.Pipeline.State); bad != nil {
			return answer, bad
		}
		c := s.Pipeline
		c.Log = slog.New(slog.DiscardHandler)
		p, bad := pipeline.New(c)
		if bad != nil {
			return answer, configError(bad)
		}
		answer, err = atRest(p)
		if errors.Is(err, pipeline.ErrLocked) {
			err = fmt.Errorf("%w, and %w", err, nobody)
		}
		return answer, err
	}
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(bodies[0], &answer); err != nil {
		return answer, fmt.Errorf("read answer: %w: does the service have the version of this command?", err)
	}
	return answer, nil
}

// lookVia asks the running service, without a time limit.
func lookVia(ctx context.Context, f Flags, path string) ([][]byte, error) {
	c, err := newClient(f)
	if err != nil {
		return nil, err
	}
	c.limit = math.MaxInt64
	return c.ask(ctx, http.MethodPost, path)
}

// whyKey matches a key of `why` that is an id, a SHA-256 or a place. Any other key is a
// path.
var whyKey = regexp.MustCompile(`^([0-9a-fA-F]{64}|[0-9a-fA-F]{16}|(live|backlog):[0-9]+:[0-9]+)$`)

// Why prints a sample's story. key is a path, a SHA-256, an id, or a place in the
// journal.
func Why(ctx context.Context, f Flags, key string, out io.Writer) error {
	if whyKey.MatchString(key) {
		key = strings.ToLower(key)
	} else if abs, err := filepath.Abs(key); err == nil {
		key = abs
	}
	s, err := look(ctx, f, "/api/v1/why?key="+url.QueryEscape(key), func(p *pipeline.Pipeline) (pipeline.Story, error) { return p.Why(ctx, key) })
	if err != nil {
		return fmt.Errorf("why: %w", err)
	}
	if len(s.Lines)+len(s.Outcomes)+len(s.Now) == 0 {
		return fmt.Errorf("why: neither journal nor ledger know %s: certpush verify tells of files that are not journaled; older segments are pruned", printable(key))
	}
	if len(s.Now) > 0 { // a file lies there, and is not journaled as it is
		if who := writersOf(key); len(who) > 0 {
			s.Now = append(s.Now, "open for writing by "+strings.Join(who, "; "))
		}
	}
	_, err = io.WriteString(out, storyText(s))
	return err
}

// Dead prints the dead letters.
func Dead(ctx context.Context, f Flags, out io.Writer) error {
	all, err := look(ctx, f, "/api/v1/dead", func(p *pipeline.Pipeline) ([]pipeline.DeadLetter, error) { return p.Dead(ctx) })
	if err != nil {
		return fmt.Errorf("dead list: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(all) == 0 {
		fmt.Fprintln(w, "no dead letters")
	} else {
		fmt.Fprintln(w, "ID\tSCANNER\tSINCE\tTRIES\tPATH\tREASON")
	}
	for _, d := range all {
		o := d.Outcome
		reason := printable(o.Reason)
		if d.Again {
			reason = "waits again; it was " + reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", printable(d.ID()), printable(o.Scanner), o.Time.UTC().Format(time.RFC3339), o.Tries, printable(o.Path), reason)
	}
	return w.Flush()
}

// Retry lets the dead letter id be pushed once more; "": all of them.
func Retry(ctx context.Context, f Flags, id string, out io.Writer) error {
	n, err := look[retried](ctx, f, "/api/v1/dead/retry?id="+url.QueryEscape(id), nil)
	if err != nil {
		return fmt.Errorf("dead retry: %w", err)
	}
	fmt.Fprintf(out, "%s again\n", number(n.Queued, "sample waits", "samples wait"))
	if n.Unable > 0 {
		return fmt.Errorf("dead retry: %s gone or changed, and the journal lines are pruned: certpush dead drop takes them off the list", number(n.Unable, "file is", "files are"))
	}
	return nil
}

// Drop takes the dead letters of the sample id off the list: one for each scanner that
// gave it up.
func Drop(ctx context.Context, f Flags, id string, out io.Writer) error {
	n, err := look[int](ctx, f, "/api/v1/dead/drop?id="+url.QueryEscape(id), nil)
	if err != nil {
		return fmt.Errorf("dead drop: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s dropped\n", number(n, "dead letter", "dead letters"))
	return err
}

// ErrUnproven is the error of Verify if a file is unaccounted, or a folder could not be
// read. Verify has printed the list before.
var ErrUnproven = errors.New("not every file has its outcome")

// Verify proves that each file in the trees is journaled in its present version and has
// its outcomes, and prints the numbers. With fix it journals unaccounted files again.
// With read it reads each file, and holds it against the hash of its verdict.
func Verify(ctx context.Context, f Flags, fix, read bool, out io.Writer) error {
	v, err := look(ctx, f, fmt.Sprintf("/api/v1/verify?fix=%t&read=%t", fix, read), func(p *pipeline.Pipeline) (pipeline.Proof, error) {
		if read {
			return p.VerifyRead(ctx, fix)
		}
		return p.Verify(ctx, fix)
	})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if _, err := io.WriteString(out, proofText(v, read)); err != nil {
		return err
	}
	return unproven(v, fix)
}

// unproven returns the error of a proof that does not hold, with the next step. With fix
// it is enough that all unaccounted files are journaled again.
func unproven(v pipeline.Proof, fix bool) error {
	switch {
	case len(v.Unread)+len(v.Missing) > 0:
		return fmt.Errorf("verify: %w: some folders could not be read: see that they are there and that certpush may read them", ErrUnproven)
	case v.NotRead > 0:
		return fmt.Errorf("verify: %w that can be told: some files could not be read: see that certpush may read them, and that no program holds them", ErrUnproven)
	case v.TakenBack > 0 && (v.Unaccounted == 0 || fix):
		return fmt.Errorf("verify: %w: verdicts of a blind address are taken back and not all given again: certpush status tells what waits; verify again when nothing does", ErrUnproven)
	case v.Proven() || fix && v.Queued == v.Lacking:
		return nil
	}
	return fmt.Errorf("verify: %w: certpush verify --fix queues them", ErrUnproven)
}

func proofText(v pipeline.Proof, read bool) string {
	var b strings.Builder
	for _, dir := range v.Missing {
		fmt.Fprintf(&b, "tree is not there: %s\n", printable(dir))
	}
	for _, bad := range v.Troubles {
		fmt.Fprintf(&b, "cannot be listed: %s: %s\n", printable(bad.Path), printable(bad.Error))
	}
	for _, dir := range v.Long {
		fmt.Fprintf(&b, "left out, its path is too long: %s...\n", printable(dir))
	}
	if more := v.TooLong - int64(len(v.Long)); more > 0 {
		fmt.Fprintf(&b, "and %d more with too long a path\n", more)
	}
	for _, u := range v.List {
		name := ""
		if u.Scanner != "" {
			name = printable(u.Scanner) + ": "
		}
		fmt.Fprintf(&b, "unaccounted: %s: %s%s\n", printable(u.Sample.Path), name, printable(u.Why))
	}
	for _, bad := range v.Unreadable {
		fmt.Fprintf(&b, "cannot be read: %s: %s\n", printable(bad.Path), printable(bad.Error))
	}
	if more := v.NotRead - int64(len(v.Unreadable)); more > 0 {
		fmt.Fprintf(&b, "and %d more that cannot be read\n", more)
	}
	if more := v.Unaccounted - int64(len(v.List)); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	type row struct {
		name string
		n    int64
	}
	rows := []row{
		{"files", v.Files}, {pipeline.Done, v.Done}, {pipeline.Gone, v.Gone}, {pipeline.Skipped, v.Skipped}, {pipeline.Dead, v.Dead},
		{"waiting", v.Waiting}, {"excluded", v.Excluded}, {"unaccounted", v.Unaccounted},
	}
	if read {
		rows = append(rows, row{"read", v.Read}, row{"differ", v.Differ})
	}
	for _, row := range rows {
		fmt.Fprintf(w, "%d\t  %s\n", row.n, row.name)
	}
	w.Flush()
	if v.Queued > 0 {
		fmt.Fprintf(&b, "%s again\n", number(v.Queued, "file is journaled", "files are journaled"))
	}
	if v.Proven() {
		fmt.Fprintf(&b, "proven: each of %s has its outcomes, or waits for them\n", number(v.Files, "file", "files"))
	} else {
		fmt.Fprintf(&b, "not proven: %s\n", strings.Join(lacking(v), "; "))
	}
	return b.String()
}

// lacking says what keeps a proof from holding.
func lacking(v pipeline.Proof) (all []string) {
	if v.Unaccounted > 0 {
		all = append(all, number(v.Lacking, "file is", "files are")+" unaccounted for")
	}
	if n := len(v.Unread) + len(v.Missing); n > 0 {
		all = append(all, number(n, "folder", "folders")+" could not be read")
	}
	if v.NotRead > 0 {
		all = append(all, number(v.NotRead, "file", "files")+" could not be read")
	}
	if v.TakenBack > 0 {
		all = append(all, "of what a blind address called clean "+number(v.TakenBack, "batch is", "batches are")+" taken back and not all given again yet")
	}
	return all
}
