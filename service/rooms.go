// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"

	"github.com/certpush/certpush/pipeline"
)

// checkRooms prints what each part of the state uses, and its bound.
func checkRooms(r *report, c pipeline.Config) {
	rooms, err := pipeline.Rooms(c)
	if err != nil {
		return // the configuration is at fault, which is printed elsewhere
	}
	for _, room := range rooms {
		text := inUnits(room.Bytes)
		switch {
		case room.Part == "index":
			text += ", it grows with the files in the trees"
		case room.Part == "cache":
			text += ", at most " + inUnits(room.Max)
		case room.Max >= 0:
			text += ", finished segments at most " + inUnits(room.Max)
		}
		r.ok("room "+room.Part, text)
	}
}

// inUnits returns a number of bytes for people.
func inUnits(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
