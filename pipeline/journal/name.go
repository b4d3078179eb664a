// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A sealed name, by columns:
//
//	BASE          . YYYYMMDD-HHMM [ _NNNNNN ] .log
//	monitor.log   . 20261122-2359            .log   first cut of that minute
//	monitor.log   . 20261122-2359   _000001  .log   second
//
// '.' sorts before '_', so names sort in the order of cutting.
const minuteForm = "20060102-1504"

// sealedName is the parsed form of a sealed segment's name.
type sealedName struct {
	minute string // minuteForm, UTC
	again  int    // 0 for the first cut of the minute
}

func (n sealedName) format(base string) string {
	if n.again == 0 {
		return base + "." + n.minute + ".log"
	}
	return fmt.Sprintf("%s.%s_%06d.log", base, n.minute, n.again)
}

// parseSealed reads the name of a sealed segment of base; false for any other name.
func parseSealed(base, name string) (sealedName, bool) {
	rest, ok := strings.CutPrefix(name, base+".")
	if !ok {
		return sealedName{}, false
	}
	if rest, ok = strings.CutSuffix(rest, ".log"); !ok {
		return sealedName{}, false
	}
	minute, again, more := strings.Cut(rest, "_")
	if _, err := time.Parse(minuteForm, minute); err != nil {
		return sealedName{}, false
	}
	n := sealedName{minute: minute}
	if more {
		k, err := strconv.Atoi(again)
		if err != nil || k < 1 || len(again) < 6 {
			return sealedName{}, false
		}
		n.again = k
	}
	return n, true
}

// IsSealed reports whether name is that of a sealed segment of base.
func IsSealed(base, name string) bool {
	_, ok := parseSealed(base, name)
	return ok
}

// next returns the name of a cut at now. It sorts after n, even if the clock was set
// back. The zero n sorts before all names.
func (n sealedName) next(now time.Time) sealedName {
	minute := now.UTC().Format(minuteForm)
	if minute > n.minute {
		return sealedName{minute: minute}
	}
	return sealedName{minute: n.minute, again: n.again + 1}
}

// A header is a segment's first line:
//
//	{"segment":N,"lane":"live","format":1}\n
type header struct {
	Segment uint64 `json:"segment"`
	Lane    string `json:"lane"`
	Format  int    `json:"format"`
}

const format = 1

// maxSegment is the highest number that a header may have, so that there is always a
// next one.
const maxSegment = 1 << 62

func (h header) line() []byte {
	return fmt.Appendf(nil, "{\"segment\":%d,\"lane\":%q,\"format\":%d}\n", h.Segment, h.Lane, h.Format)
}

// parseHeader reads a first line, which has lost its newline. It returns false if the
// line is not a header: the segment is another program's.
func parseHeader(line []byte) (header, bool) {
	var h header
	if len(line) == 0 || len(line) > 200 || line[0] != '{' || json.Unmarshal(line, &h) != nil {
		return h, false
	}
	return h, h.Segment > 0 && h.Segment <= maxSegment && h.Format == format
}
