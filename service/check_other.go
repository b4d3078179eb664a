// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

import "math"

// mayWrite does not know the rights.
func mayWrite(string) error { return nil }

// room knows of no bound.
func room(string) (all, free int64, err error) { return math.MaxInt64, math.MaxInt64, nil }

// madeUp knows of no such file system.
func madeUp(string) string { return "" }

// checkLimits knows of no limits.
func checkLimits(*report, int, int, uint64, bool) {}

// becomeService changes nothing.
func becomeService(string) string { return "" }

// hiddenByUnit knows of no unit.
func hiddenByUnit(string, string) error { return nil }
