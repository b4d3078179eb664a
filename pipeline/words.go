// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/internal/look"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// The words of a sample's way, for programs that embed it.
type (
	// Sample is one version of one dropped file.
	Sample = sample.Sample
	// Outcome is how the push of one sample to one scanner ended.
	Outcome = sample.Outcome
	// At is the place of a line in the journal.
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
	ReasonChanged    = sample.ReasonChanged    // the file is not the version of its line any more
	ReasonOutside    = sample.ReasonOutside    // the path is below no configured tree
	ReasonTooLarge   = sample.ReasonTooLarge   // larger than its tree's max_size
	ReasonUnreadable = sample.ReasonUnreadable // reading it failed at each try
	ReasonBusy       = sample.ReasonBusy       // another program held it longer than settle_limit
	ReasonDropped    = sample.ReasonDropped    // a dead letter that an operator dropped
)

// HostAntivirus is the signature if another anti-virus on this host removed the sample
// or keeps us from reading it.
const HostAntivirus = sample.HostAntivirus

// The types of a Config's fields.
type (
	// Half says which halves of the pipeline this process runs.
	Half = config.Half
	// Tree is a watched directory and all below it.
	Tree = config.Tree
	// Journal says where the lines go, and when segments are cut and pruned.
	Journal = config.Journal
	// Ledger says how much of the record of outcomes is kept, and when they are durable.
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

// The types of a Status's fields.
type (
	// TreeStatus is one tree's part of a Status.
	TreeStatus = producer.TreeStatus
	// Trouble is a directory that is not watched or cannot be read.
	Trouble = producer.Trouble
	// Sweeping is how far a sweep of a whole tree is.
	Sweeping = producer.Sweeping
	// ScannerStatus is one scanner's part of a Status. At every moment Journaled = Done
	// + Gone + Skipped + Dead + Waiting. Waiting includes the samples in flight.
	ScannerStatus = consumer.Status
	// SightOf is what the canaries of one address of a scanner have shown.
	SightOf = scan.Sight
	// Seen is the answer that the canaries of one kind have given.
	Seen = scan.Seen
)

// The answers of canaries.
const (
	NotAsked = scan.NotAsked
	Yes      = scan.Yes
	No       = scan.No
	NoAnswer = scan.NoAnswer
)

// The answers of Why, Dead and Verify.
type (
	// Story is what journal and ledger say about a sample. Each list is in order of
	// time.
	Story = look.Story
	// Journaled is a journal line and its place.
	Journaled = look.Journaled
	// Pending is a line that has no outcome of a configured scanner yet.
	Pending = look.Pending
	// Withdrawn is a clean that is taken back, because its address turned out blind. The
	// sample has no new outcome yet.
	Withdrawn = look.Withdrawn
	// DeadLetter is a sample that the consumer of one scanner gave up.
	DeadLetter = look.DeadLetter
	// Proof is the result of a Verify. Its numbers count files, once for each
	// configured scanner. Files and Excluded count each file once.
	Proof = look.Proof
	// Reread is what a Verify found that read the files too; otherwise it is zero.
	Reread = look.Reread
	// Unaccounted is a file that will not be pushed to a scanner.
	Unaccounted = look.Unaccounted
)

// DownError says that a scanner cannot be reached.
type DownError = consumer.DownError
