// SPDX-License-Identifier: Apache-2.0

package pipeline

import "time"

// Status says how many samples wait, the age of the oldest one, and the state of each
// tree and scanner. `status --json` prints its JSON form.
type Status struct {
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
	Trees    []TreeStatus    `json:"trees"`
	Scanners []ScannerStatus `json:"scanners"`
}
