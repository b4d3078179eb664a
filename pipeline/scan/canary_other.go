// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package scan

// canaryFile returns an open temporary file of this content that has no name.
func canaryFile(text []byte) (File, error) { return temporaryFile(text) }
