// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// Reread is what a Verify found that read the files too; otherwise it is zero.
type Reread struct {
	Read       int64              `json:"read"`       // files whose bytes were held against the hash of their verdict, each once
	Differ     int64              `json:"differ"`     // those of them whose bytes are others; they are unaccounted too
	NotRead    int64              `json:"not_read"`   // files that have such a hash and could not be read
	Unreadable []producer.Trouble `json:"unreadable"` // the first thousand of them, with the error of each
}

// verdictOf names a version of a file at a scanner.
type verdictOf struct{ scanner, id string }

// unlike is the text of a file whose bytes are not those that its verdict was given for.
const unlike = "its bytes are not those of its verdict, though its version is the same"

// readHashes reads from the ledger the hash of the last verdict on each version that lies
// in the trees now. So memory grows with the files, not with the ledger. It runs after
// prepare: what counts as done by then has its outcome in what this reads.
func (c *verify) readHashes(ctx context.Context, marks map[string]journal.Pos) error {
	return c.a.recorded(ctx, ledger.Base, query{}, func(text []byte) bool {
		o, err := sample.ParseOutcome(text)
		if err != nil || o.Outcome != sample.Done || o.ID == "" {
			return err == nil
		}
		key := verdictOf{o.Scanner, o.ID}
		sum, err := hex.DecodeString(o.SHA256)
		switch {
		case err != nil || len(sum) != len(c.hashes[key]):
			delete(c.hashes, key) // the scanner may have got other bytes than an earlier verdict tells
		case !o.At.Pos.Before(marks[o.At.Lane]) || c.files.version(o.Path, o.ID):
			c.hashes[key] = [32]byte(sum)
		}
		return true
	})
}

// differs reads the file of candidate u, whose line is at, and returns for which scanners
// its bytes are not those of their verdicts. how has the outcome of each scanner.
//
// A file that changes meanwhile is none of them: it settles, and is journaled again.
func (c *verify) differs(ctx context.Context, u candidate, at sample.At, how []string) []bool {
	is := make([]bool, len(c.reach))
	id := sample.OfFile(u.path, u.stat.Size, u.stat.Mtime).ID
	hashed := map[int][32]byte{}
	for i, r := range c.reach {
		if sum, ok := c.hashes[verdictOf{r.scanner, id}]; ok && how[i] == sample.Done {
			hashed[i] = sum
		}
	}
	if len(hashed) == 0 || ctx.Err() != nil {
		return is
	}
	sum, st, err := c.files.hash(ctx, u.path)
	switch {
	case ctx.Err() != nil, errors.Is(err, fs.ErrNotExist):
		return is
	case err != nil:
		c.proof.NotRead++
		if len(c.proof.Unreadable) < maxListed {
			c.proof.Unreadable = append(c.proof.Unreadable, producer.TroubleOf(u.path, err))
		}
		return is
	case !st.Same(u.stat):
		return is
	}
	c.proof.Read++
	some := false
	for i, want := range hashed {
		is[i] = sum != want
		some = some || is[i]
	}
	if !some {
		return is
	}
	// It may have been written within one grain of its clock while it was read: then it
	// settles now, or has another line.
	if e, ok := c.files.known(u.path, st); !ok || e.At != at || c.files.settling(u.path) {
		c.proof.Read--
		return make([]bool, len(c.reach))
	}
	c.proof.Differ++
	c.proof.Lacking++
	u.at = at
	c.unlike = append(c.unlike, u)
	return is
}

// tellUnlike counts a file at one scanner whose verdict is of other bytes.
func (c *verify) tellUnlike(path string, st watch.Stat, scanner string) {
	c.proof.Unaccounted++
	if len(c.proof.List) < maxListed {
		c.proof.List = append(c.proof.List, Unaccounted{sample.OfFile(path, st.Size, st.Mtime), scanner, unlike})
	}
}

// queueUnlike journals the files again whose bytes are not those of their verdicts,
// except those that have another line by then.
func (c *verify) queueUnlike(ctx context.Context) error {
	all := c.unlike
	c.unlike = nil
	files, was := make([]producer.File, len(all)), map[string]candidate{}
	for i, u := range all {
		files[i], was[u.path] = producer.File{Tree: u.tree, Path: u.path}, u
	}
	n, err := c.files.requeue(ctx, files, func(path string) bool {
		e, known := c.files.known(path, was[path].stat)
		return known && e.At != was[path].at
	})
	c.proof.Queued += int64(n)
	return err
}
