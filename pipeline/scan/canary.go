// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// ErrBlind is the error of Canary for a scanner that answers but does not detect.
var ErrBlind = errors.New("the scanner answers but does not detect")

// ErrAlarm is the error of Canary for a scanner that calls a harmless file malicious.
var ErrAlarm = errors.New("the scanner calls a harmless file malicious")

// Canary lets s judge a harmless file and then the EICAR test file, each alone. It
// returns nil if s calls only the second one malicious. Otherwise the error wraps
// ErrBlind, ErrAlarm or the *Failure. Discard detects nothing by design and passes. On
// Linux and Windows neither file ever lies on a disk.
func Canary(ctx context.Context, s Scanner) error {
	if _, ok := s.(Discard); ok {
		return nil
	}
	a, err := judgeText(ctx, s, []byte("certpush asks: is anybody looking?\n"))
	if err != nil {
		return err
	}
	if a.Verdict == Malicious {
		return fmt.Errorf("judge canary: %w", ErrAlarm)
	}
	a, err = judgeText(ctx, s, eicar())
	if err != nil {
		return err
	}
	if a.Verdict != Malicious {
		return fmt.Errorf("judge canary: %w", ErrBlind)
	}
	return nil
}

// judgeText lets s judge a file of this content.
func judgeText(ctx context.Context, s Scanner, text []byte) (Answer, error) {
	f, err := canaryFile(text)
	if err != nil {
		return Answer{}, &Failure{Kind: Unread, Err: fmt.Errorf("make canary: %w", err)}
	}
	defer f.F.Close()
	f.Size, f.SHA256 = int64(len(text)), sha256.Sum256(text)
	answers := s.Scan(ctx, slices.Values([]File{f}))
	switch {
	case len(answers) != 1:
		return Answer{}, Failed(Unclear, "judge canary: %d answers to one file", len(answers))
	case answers[0].Err != nil:
		return Answer{}, fmt.Errorf("judge canary: %w", answers[0].Err)
	}
	return answers[0], nil
}

// eicar returns the EICAR test file. It is assembled at run time, so that no scanner
// takes away this program or its source.
func eicar() []byte {
	tail := "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
	return append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$`), tail...)
}
