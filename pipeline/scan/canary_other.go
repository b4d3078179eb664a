// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package scan

// canaryFile returns an open, unlinked temporary file of this content.
func canaryFile(text []byte) (File, error) { return temporaryFile(text) }
