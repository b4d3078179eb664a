// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package journal

// renameOver renames a file over another one.
func renameOver(d Folder, from, to string) error { return d.Rename(from, to) }
