// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
)

// Canary names a file of known content that asks a scanner, at one address, what it sees.
type Canary string

// The canaries.
const (
	Plain     Canary = "plain"     // a harmless text, and the test file alone
	Archive   Canary = "archive"   // a zip with the test file
	Encrypted Canary = "encrypted" // an encrypted zip
	Depth     Canary = "depth"     // the test file in a file of a given size, and in a zip of that size
	Ordinary  Canary = "ordinary"  // a harmless text in a file that has a name, for scanners that take descriptors
)

// CanaryFile begins the name of a file that holds a canary.
const CanaryFile = "certpush-canary-"

// The causes for which a canary was not seen.
var (
	ErrBlind     = errors.New("it answers but does not detect: it called the test file clean")
	ErrAlarm     = errors.New("it calls a harmless file malicious")
	ErrNotOpened = errors.New("it got no descriptor")
	ErrDenied    = errors.New("it may not read the file that it was handed")
	ErrUnaskable = errors.New("this test file cannot be asked for so: the scanner knows it only as it is")
)

// Small is the size in bytes up to which nobody asks how deep a scanner looks.
const Small = 4 << 10

// Canaries makes canaries. Each one has other bytes, so that nobody answers from memory
// for a scanner that does not look. None of them is on a disk under a name, but for a
// harmless one.
type Canaries struct {
	Test []byte // what the scanner must call malicious; nil: EICAR
	Dir  string // a folder on whose disk the canaries of Depth lie, without a name, and that of Ordinary; empty: the system's
}

// Shown is what one canary has shown.
type Shown struct {
	Sees    bool
	Version string // that the address told with the answer
	Why     error  // why it does not see: it wraps one of the causes above
}

// Ask lets s, which asks one address, judge a canary. Only Depth uses size, in bytes. An
// error means that there was no answer; it wraps the *Failure.
func (c Canaries) Ask(ctx context.Context, s Scanner, canary Canary, size int64) (Shown, error) {
	switch canary {
	case Archive:
		return c.askArchive(ctx, s)
	case Encrypted:
		return c.askEncrypted(ctx, s)
	case Depth:
		return c.askDepth(ctx, s, size)
	case Ordinary:
		return c.askOrdinary(ctx, s)
	}
	return c.askPlain(ctx, s)
}

func (c Canaries) askPlain(ctx context.Context, s Scanner) (Shown, error) {
	a, err := c.judge(ctx, s, textBody(harmless()))
	if err != nil {
		return Shown{}, err
	}
	shown := Shown{Version: a.Version}
	if a.Verdict == Malicious {
		shown.Why = ErrAlarm
		return shown, nil
	}
	for _, text := range c.forms() {
		if a, err = c.judge(ctx, s, textBody(text)); err != nil {
			return Shown{}, err
		}
		shown.Version = a.Version
		if shown.Sees = a.Verdict == Malicious; shown.Sees {
			return shown, nil
		}
	}
	shown.Why = ErrBlind
	return shown, nil
}

// forms returns the test file in the forms that are asked for, until one is detected.
// EICAR may be followed by blanks, up to 128 bytes in all; but some signatures are the
// hash of its 68 bytes.
func (c Canaries) forms() [][]byte {
	if c.Test != nil {
		return [][]byte{c.Test}
	}
	blanks := make([]byte, 1+mathrand.IntN(59))
	for i := range blanks {
		blanks[i] = " \t\r\n"[mathrand.IntN(4)]
	}
	return [][]byte{append(eicar(), blanks...), eicar()}
}

func (c Canaries) test() []byte {
	if c.Test != nil {
		return c.Test
	}
	return eicar()
}

func (c Canaries) askArchive(ctx context.Context, s Scanner) (Shown, error) {
	text, err := zipOf(c.test(), nil)
	if err != nil {
		return Shown{}, err
	}
	if bytes.Contains(text, c.test()) {
		return Shown{Why: fmt.Errorf("pack test file: it does not get shorter: %w", ErrUnaskable)}, nil
	}
	return c.mustFind(ctx, s, textBody(text))
}

func (c Canaries) askEncrypted(ctx context.Context, s Scanner) (Shown, error) {
	text, err := encryptedZip(c.test())
	if err != nil {
		return Shown{}, err
	}
	a, err := c.judge(ctx, s, textBody(text))
	if err != nil {
		return Shown{}, err
	}
	shown := Shown{Sees: a.Verdict != Clean, Version: a.Version}
	if !shown.Sees {
		shown.Why = errors.New("it called an encrypted zip clean")
	}
	return shown, nil
}

// askDepth asks with a padded test file, and with a zip whose last member is the test
// file: with those of the two that the scanner detects when they are small.
func (c Canaries) askDepth(ctx context.Context, s Scanner, size int64) (Shown, error) {
	asked := false
	shown := Shown{}
	least := min(size, Small+int64(len(c.test())))
	for _, form := range []func(int64) (body, error){c.padded, c.deepZip} {
		small, err := form(least)
		if errors.Is(err, ErrUnaskable) { // max_size is smaller than that
			continue
		}
		if err != nil {
			return Shown{}, err
		}
		if shown, err = c.mustFind(ctx, s, small); err != nil {
			return Shown{}, err
		}
		if !shown.Sees {
			continue
		}
		asked = true
		if size <= least {
			continue
		}
		deep, err := form(size)
		if err != nil {
			return Shown{}, err
		}
		if shown, err = c.mustFind(ctx, s, deep); err != nil || !shown.Sees {
			return shown, err
		}
	}
	if !asked {
		shown.Why = ErrUnaskable
		return shown, nil
	}
	return Shown{Sees: true, Version: shown.Version}, nil
}

// askOrdinary asks with a harmless text in an ordinary file. What is in memory, or has no
// name, AppArmor lets through; it and SELinux judge a file by its name or label, whatever
// descriptor it comes with. So s sees this canary if it judges it, as whatever.
func (c Canaries) askOrdinary(ctx context.Context, s Scanner) (Shown, error) {
	text := harmless()
	f, err := ordinaryFile(c.Dir, text)
	if err != nil {
		return Shown{}, &Failure{Kind: Unread, Err: fmt.Errorf("make canary: %w", err)}
	}
	f.Size, f.SHA256, f.Sealed = int64(len(text)), sha256.Sum256(text), true
	a, err := judge(ctx, s, f)
	if gone := errors.Join(f.F.Close(), os.Remove(f.F.Name())); err == nil && gone != nil {
		err = &Failure{Kind: Unread, Err: fmt.Errorf("remove canary: %w", gone)}
	}
	var refused *Failure
	if errors.Is(err, ErrNotOpened) || errors.As(err, &refused) && refused.Kind == Refused {
		return Shown{Why: err}, nil
	}
	return Shown{Sees: err == nil, Version: a.Version}, err
}

// mustFind lets s judge a body that it must call malicious.
func (c Canaries) mustFind(ctx context.Context, s Scanner, b body) (Shown, error) {
	a, err := c.judge(ctx, s, b)
	if err != nil {
		return Shown{}, err
	}
	shown := Shown{Sees: a.Verdict == Malicious, Version: a.Version}
	if !shown.Sees {
		shown.Why = ErrBlind
	}
	return shown, nil
}

// judge lets s judge a file of this content.
func (c Canaries) judge(ctx context.Context, s Scanner, b body) (Answer, error) {
	f, err := c.file(b)
	if err != nil {
		return Answer{}, &Failure{Kind: Unread, Err: fmt.Errorf("make canary: %w", err)}
	}
	defer f.F.Close()
	return judge(ctx, s, f)
}

// judge lets s judge f.
func judge(ctx context.Context, s Scanner, f File) (Answer, error) {
	answers := s.Scan(ctx, slices.Values([]File{f}))
	switch {
	case len(answers) != 1:
		return Answer{}, Failed(Unclear, "judge canary: %d answers to one file", len(answers))
	case answers[0].Err != nil:
		return Answer{}, fmt.Errorf("judge canary: %w", answers[0].Err)
	}
	return answers[0], nil
}

// file returns an open file of this content. A text lies in memory. A larger body lies in
// Dir, without a name and as a sparse file; on Windows it is made while it is sent.
func (c Canaries) file(b body) (f File, err error) {
	if b.size <= Small {
		text := make([]byte, b.size)
		if _, err := b.ReadAt(text, 0); err != nil {
			return File{}, err
		}
		f, err = canaryFile(text)
		f.SHA256 = sha256.Sum256(text)
	} else if f, err = deepFile(c.Dir, b); err == nil {
		f.SHA256, err = sumOf(b)
	}
	f.Size, f.Sealed = b.size, true
	return f, err
}

// harmless returns a text that nobody has seen before and that has no harm in it.
func harmless() []byte {
	return []byte("certpush asks: is anybody looking? " + rand.Text()[:20] + "\n")
}

// eicar returns the EICAR test file. It is assembled at run time, so that no scanner
// takes away this program or its source.
func eicar() []byte {
	tail := "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
	return append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$`), tail...)
}
