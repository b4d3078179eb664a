// SPDX-License-Identifier: Apache-2.0

package sample

// The reasons of skipped and dead that are ours; those of a refused kind of
// file are watch.Refusal's.
const (
	ReasonChanged    = "changed"    // no longer the version that its line names; it is journaled again
	ReasonOutside    = "outside"    // below no configured tree
	ReasonTooLarge   = "too_large"  // above its tree's max_size
	ReasonUnreadable = "unreadable" // reading it failed every time
	ReasonBusy       = "busy"       // another program held it for longer than its tree's settle_limit
)

// HostAntivirus is the signature of a sample that another anti-virus on this host
// keeps from being read, or has removed. It has judged it: that is the verdict.
const HostAntivirus = "host antivirus"

// ReasonDropped is the reason of skipped for a dead letter that an operator
// dropped. Its ledger line has no place: the sample's own outcome stays dead.
const ReasonDropped = "dropped"
