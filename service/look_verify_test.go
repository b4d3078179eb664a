// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline"
)

// TestAProofThatDoesNotHoldSaysWhatToDo: the step must help. --fix does nothing for
// verdicts that are taken back, nor for what cannot be read.
func TestAProofThatDoesNotHoldSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		proof pipeline.Proof
		fix   bool
		want  string // in the error; empty: there is none
		told  string // in the text
	}{
		{pipeline.Proof{}, false, "", "proven: "},
		{pipeline.Proof{Unaccounted: 1, Lacking: 1}, false, "certpush verify --fix queues them", "1 file is unaccounted for"},
		{pipeline.Proof{Unaccounted: 1, Lacking: 1, Queued: 1}, true, "", "1 file is journaled again"},
		{pipeline.Proof{Unaccounted: 2, Lacking: 2, Queued: 1}, true, "certpush verify --fix queues them", "2 files are unaccounted for"},
		{pipeline.Proof{Unaccounted: 2, Lacking: 1, Queued: 1}, true, "", "not proven: 1 file is unaccounted for"},
		{pipeline.Proof{TakenBack: 1}, false, "verify again when nothing does", "1 batch is taken back"},
		{pipeline.Proof{TakenBack: 2}, true, "verify again when nothing does", "2 batches are taken back"},
		{pipeline.Proof{TakenBack: 1, Unaccounted: 1, Lacking: 1}, false, "certpush verify --fix queues them", "1 batch is taken back"},
		{pipeline.Proof{Reread: pipeline.Reread{NotRead: 1}}, true, "see that certpush may read them", "1 file could not be read"},
		{pipeline.Proof{Unread: []string{"/a"}}, true, "some folders could not be read", "not proven: 1 folder could not be read"},
	} {
		err := unproven(c.proof, c.fix)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrUnproven)) {
			t.Errorf("%+v: %v", c.proof, err)
		}
		if text := proofText(c.proof, false); !strings.Contains(text, c.told) {
			t.Errorf("%+v: %s", c.proof, text)
		}
	}
}
