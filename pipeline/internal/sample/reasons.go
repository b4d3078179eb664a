// SPDX-License-Identifier: Apache-2.0

package sample

// The reasons of skipped and dead that are ours. The reasons for a refused kind of file
// are those of watch.Refusal.
const (
	ReasonChanged    = "changed"    // the file is not the version of its line any more; it is journaled again
	ReasonOutside    = "outside"    // the path is below no configured tree
	ReasonTooLarge   = "too_large"  // larger than its tree's max_size
	ReasonUnreadable = "unreadable" // reading it failed at each try
	ReasonBusy       = "busy"       // another program held it longer than its tree's settle_limit
)

// HostAntivirus is the signature if another anti-virus on this host removed the sample
// or keeps us from reading it. That program has judged the sample, so its judgement is
// the verdict.
const HostAntivirus = "host antivirus"

// ReasonDropped is the reason of skipped for a dead letter that an operator dropped.
// That ledger line has no place: the outcome of the sample's own line stays dead.
const ReasonDropped = "dropped"
