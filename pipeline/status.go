// SPDX-License-Identifier: Apache-2.0

package pipeline

import "time"

// Status is what waits, how old it is, and how trees and scanners do. Its JSON
// form is what `status --json` prints.
type Status struct {
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
	Trees    []TreeStatus    `json:"trees"`
	Scanners []ScannerStatus `json:"scanners"`
}

// TreeStatus is one tree's part of a Status.
type TreeStatus struct {
	Name        string     `json:"name"`
	Path        string     `json:"path"`
	Engine      string     `json:"engine"`
	Directories int        `json:"directories"`
	Lost        uint64     `json:"lost"`
	LastSweep   *time.Time `json:"last_sweep"` // nil: none has ended yet
}

// ScannerStatus is one scanner's part of a Status. At every instant
// Journaled = Done + Gone + Skipped + Dead + Waiting; Waiting counts those in
// flight.
type ScannerStatus struct {
	Name          string    `json:"name"`
	Type          string    `json:"type"`
	Up            bool      `json:"up"`
	Paused        bool      `json:"paused"` // by an operator: nothing is pushed to it
	Since         time.Time `json:"since"`
	Version       string    `json:"version"`
	Journaled     int64     `json:"journaled"`
	Done          int64     `json:"done"`
	Gone          int64     `json:"gone"`
	Skipped       int64     `json:"skipped"`
	Dead          int64     `json:"dead"`
	Waiting       int64     `json:"waiting"`
	InFlight      int64     `json:"in_flight"`
	OldestWaiting float64   `json:"oldest_waiting_s"`
}
