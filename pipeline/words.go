// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/internal/look"
	"github.com/certpush/certpush/pipeline/internal/producer"
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

// What a Config is made of.
type (
	// Half says which halves of the pipeline this process runs.
	Half = config.Half
	// Tree is a watched directory and all below it.
	Tree = config.Tree
	// Journal says where the lines go and when segments are cut and pruned.
	Journal = config.Journal
	// Ledger says how much of the record of outcomes is kept.
	Ledger = config.Ledger
	// Scanner configures one scanner and its consumer.
	Scanner = config.Scanner
	// Rate is a number of pushes in a span of time. The zero Rate is no limit.
	Rate = config.Rate
)

// The halves. A producer and a consumer may run in two processes on one
// journal folder.
const (
	Both         = config.Both
	ProducerOnly = config.ProducerOnly
	ConsumerOnly = config.ConsumerOnly
)

// DefaultScanner is the scanner when none is configured: the built-in hash list.
const DefaultScanner = config.DefaultScanner

// What Status tells.
type (
	// TreeStatus is one tree's part of a Status.
	TreeStatus = producer.TreeStatus
	// ScannerStatus is one scanner's part of a Status. At every instant
	// Journaled = Done + Gone + Skipped + Dead + Waiting; Waiting counts those in
	// flight.
	ScannerStatus = consumer.Status
)

// What the looks tell.
type (
	// Story is what journal and ledger know of a sample, each part in order of time.
	Story = look.Story
	// Journaled is a journal line and its place.
	Journaled = look.Journaled
	// Pending is a line that a configured scanner has no outcome for.
	Pending = look.Pending
	// DeadLetter is a sample that a scanner's consumer gave up.
	DeadLetter = look.DeadLetter
	// Proof is what a verify found. Its numbers count files, once for each
	// configured scanner; excluded ones count once.
	Proof = look.Proof
	// Unaccounted is a file that nobody will push.
	Unaccounted = look.Unaccounted
)

// DownError says that a scanner cannot be reached.
type DownError = consumer.DownError
