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
