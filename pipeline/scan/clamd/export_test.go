// SPDX-License-Identifier: Apache-2.0

package clamd

// KeepsOver reports whether sessions over a network are kept.
func KeepsOver(network string) bool { return keepsOver(network) }
