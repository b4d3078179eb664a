// SPDX-License-Identifier: Apache-2.0

package scan

import "time"

// Seen is the answer that the canaries of one kind have given.
type Seen string

// The answers. Only a wrong answer makes No: without an answer the scanner is down or
// busy.
const (
	NotAsked Seen = "not_asked"
	Yes      Seen = "yes"
	No       Seen = "no"
	NoAnswer Seen = "no_answer"
)

// Sight is what the canaries of one address have shown. It bounds what an OK of the
// address may be called.
type Sight struct {
	Address   string    `json:"address"`
	Plain     Seen      `json:"plain"` // No: the address is blind, and judges nothing
	Archive   Seen      `json:"archive"`
	Encrypted Seen      `json:"encrypted"`          // it tells what is encrypted from what is clean
	Depth     Seen      `json:"depth"`              // it looks as deep as max_size
	Deep      int64     `json:"deep"`               // bytes: the largest file into which it was seen to look
	Ordinary  Seen      `json:"ordinary,omitempty"` // No: it is kept from ordinary files that it is handed; empty: it takes no descriptors, or is not asked
	Version   string    `json:"version"`            // that it told last
	Since     time.Time `json:"since"`              // when Plain became what it is
	Asked     time.Time `json:"asked"`              // when Plain was answered last
	Why       string    `json:"why"`                // why Plain is No, or why there is no answer
}

// Covers reports whether enough is known of the address for a clean of a file of this
// size in bytes: each canary that it needs was answered.
func (s Sight) Covers(size int64) bool {
	known := func(is Seen) bool { return is == Yes || is == No }
	return s.Plain == Yes && known(s.Archive) && known(s.Encrypted) && (size <= max(s.Deep, Small) || known(s.Depth))
}

// Bound returns what an answer about f may be called by this sight. An answer that is
// not clean stays as it is. f must be open. ok is false if the address may judge nothing
// now, or if a canary that this answer needs was not asked yet.
func (s Sight) Bound(a Answer, f File) (out Answer, ok bool) {
	unscanned := func(reason string) (Answer, bool) {
		a.Verdict, a.Reason = Unscanned, reason
		return a, true
	}
	switch {
	case s.Plain == No:
		return a, false
	case a.Verdict != Clean:
		return a, true
	case !s.Covers(f.Size):
		return a, false
	case s.Archive != Yes:
		return unscanned(ReasonArchives)
	case f.Size > max(s.Deep, Small):
		return unscanned(ReasonTooBig)
	case s.Encrypted != Yes && MayBeEncrypted(f.Reader(), f.Size):
		return unscanned(ReasonUntold)
	}
	return a, true
}

// Lack is a canary that an address does not see, and what to do about it.
type Lack struct {
	Canary Canary
	Hint   string
}

// Lacks returns the canaries that the address was asked and does not see.
func (s Sight) Lacks() (all []Lack) {
	for _, c := range []struct {
		canary Canary
		seen   Seen
	}{{Plain, s.Plain}, {Archive, s.Archive}, {Encrypted, s.Encrypted}, {Depth, s.Depth}, {Ordinary, s.Ordinary}} {
		if c.seen == No {
			all = append(all, Lack{c.canary, Hint(c.canary)})
		}
	}
	return all
}

// Hint says what to do where an address does not see a canary. The words are clamd's.
func Hint(c Canary) string {
	switch c {
	case Archive:
		return "switch ScanArchive on, and see that TemporaryDirectory is there and has room"
	case Encrypted:
		return "write AlertEncrypted yes into clamd.conf; until then what may be encrypted is unscanned"
	case Depth:
		return "raise MaxFileSize, MaxScanSize and StreamMaxLength in clamd.conf to max_size, at most 2 GiB - 1, or lower max_size; until then larger files are unscanned"
	case Ordinary:
		return "AppArmor or SELinux keeps it from files that it is handed, as samples over 256 KiB are: let clamd's profile read the trees and the state folder (AppArmor: /etc/apparmor.d/local/usr.sbin.clamd, SELinux: setsebool -P antivirus_can_scan_system 1), or use its tcp address"
	}
	return "see that its signatures are loaded, that they know the EICAR test file (or name another with canary = FILE), and that TemporaryDirectory is there and has room"
}
