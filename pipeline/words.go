// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// The words of a sample's way, for programs that embed it.
type (
	// Sample is one version of one dropped file.
	Sample = sample.Sample
	// Outcome is how the push of one sample to one scanner ended.
	Outcome = sample.Outcome
	// At is a line's position in the journal.
	At = sample.At
	// Try is a failed try that counted against its sample.
	Try = sample.Try
)

// The ways in which a sample was noticed.
const (
	ViaEvent  = sample.ViaEvent
	ViaSweep  = sample.ViaSweep
	ViaLimit  = sample.ViaLimit
	ViaManual = sample.ViaManual
)

// The outcomes: how a push ended.
const (
	Done    = sample.Done    // judged
	Gone    = sample.Gone    // the file vanished
	Skipped = sample.Skipped // refused for a named reason
	Dead    = sample.Dead    // given up after all tries: a dead letter
)

// The reasons of skipped and dead that are ours.
const (
	ReasonChanged    = sample.ReasonChanged    // no longer the version that its line names
	ReasonOutside    = sample.ReasonOutside    // below no configured tree
	ReasonTooLarge   = sample.ReasonTooLarge   // above its tree's max_size
	ReasonUnreadable = sample.ReasonUnreadable // reading it failed every time
	ReasonBusy       = sample.ReasonBusy       // another program held it for longer than settle_limit
	ReasonDropped    = sample.ReasonDropped    // a dead letter that an operator dropped
)

// HostAntivirus is the signature of a sample that another anti-virus on this host
// keeps from being read.
const HostAntivirus = sample.HostAntivirus
