// SPDX-License-Identifier: Apache-2.0

package sample

// Line is a type that has a line of its own: in the journal, the ledger or the tries.
type Line interface {
	Sample | Outcome | Try
	appendLine(b []byte) []byte
}

// AppendLine appends the line of l and its newline to b.
func AppendLine[L Line](b []byte, l L) []byte { return l.appendLine(b) }
