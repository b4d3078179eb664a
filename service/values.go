// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/certpush/certpush/pipeline"
)

// setter is a value of the file that checks itself. The error says what is wrong, and
// what to write in its place.
type setter interface{ set(v any) error }

// Duration is a span of time in the file: "250ms", "10m", "0".
type Duration time.Duration

func (d *Duration) set(v any) error {
	text, ok := v.(string)
	if !ok {
		return unitless(v, "ms", "s", "m")
	}
	if text == "0" {
		*d = 0
		return nil
	}
	parsed, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a duration: %s", text, durationHint(text))
	case parsed < 0:
		return fmt.Errorf("%q is negative: write it without the minus", text)
	}
	*d = Duration(parsed)
	return nil
}

// unitless returns the error for a value without quotes and unit.
func unitless(v any, units ...string) error {
	if n, ok := v.(int64); ok {
		for i, u := range units {
			units[i] = strconv.Quote(strconv.FormatInt(n, 10) + u)
		}
		last := len(units) - 1
		return fmt.Errorf("a bare number has no unit: write %s or %s", strings.Join(units[:last], ", "), units[last])
	}
	return fmt.Errorf("%s stands where text is expected: write it in quotes, with its unit", kind(v))
}

func durationHint(text string) string {
	squeezed := strings.ToLower(strings.Join(strings.Fields(text), ""))
	for _, unit := range []struct {
		names  string
		factor int
		to     string
	}{
		{"days day d", 24, "h"}, {"weeks week w", 7 * 24, "h"}, {"hours hour hrs hr", 1, "h"}, {"minutes minute mins min", 1, "m"},
		{"milliseconds millis msec", 1, "ms"}, {"seconds second secs sec", 1, "s"},
	} {
		for _, name := range strings.Fields(unit.names) {
			number, found := strings.CutSuffix(squeezed, name)
			if n, err := strconv.Atoi(number); found && err == nil && n > 0 && n < 1<<20 {
				return fmt.Sprintf("did you mean %q?", strconv.Itoa(n*unit.factor)+unit.to)
			}
		}
	}
	if _, err := time.ParseDuration(squeezed); err == nil {
		return fmt.Sprintf("did you mean %q?", squeezed)
	}
	if _, err := strconv.Atoi(squeezed); err == nil {
		return fmt.Sprintf("it has no unit: write %q, %q or %q", squeezed+"ms", squeezed+"s", squeezed+"m")
	}
	return `write for example "250ms", "30s", "10m" or "24h"`
}

// Size is a number of bytes in the file: "64 KiB", "25 MiB", "0".
type Size int64

func (s *Size) set(v any) error {
	text, ok := v.(string)
	if !ok {
		return unitless(v, " B", " KiB", " MiB")
	}
	if text == "0" {
		*s = 0
		return nil
	}
	number, unit := splitNumber(text)
	n, err := strconv.ParseInt(number, 10, 64)
	shift, known := map[string]int{"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[unit]
	if err != nil || !known {
		return fmt.Errorf("%q is not a size: %s", text, sizeHint(number, unit))
	}
	if n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is larger than any file: write \"0\" for no limit", text)
	}
	*s = Size(n << shift)
	return nil
}

// splitNumber splits text into its leading digits and the unit after them.
func splitNumber(text string) (number, unit string) {
	text = strings.TrimSpace(text)
	unit = strings.TrimLeft(text, "0123456789")
	return text[:len(text)-len(unit)], strings.TrimSpace(unit)
}

func sizeHint(number, unit string) string {
	if number != "" {
		if unit == "" {
			return fmt.Sprintf("it has no unit: write %q, %q or %q", number+" B", number+" KiB", number+" MiB")
		}
		if letter := strings.ToUpper(unit[:1]); strings.Contains("KMGT", letter) {
			return fmt.Sprintf("did you mean %q?", number+" "+letter+"iB")
		}
		if strings.EqualFold(unit, "b") || strings.HasPrefix(strings.ToLower(unit), "byte") {
			return fmt.Sprintf("did you mean %q?", number+" B")
		}
	}
	return `write for example "64 KiB", "25 MiB", "4 GiB" or "0"`
}

// Rate is a number of pushes in a span of time in the file: "60/m", "0".
type Rate pipeline.Rate

func (r *Rate) set(v any) error {
	text, ok := v.(string)
	if !ok {
		return unitless(v, "/s", "/m", "/h")
	}
	if text == "0" {
		*r = Rate{}
		return nil
	}
	number, per, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(number)
	span, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[per]
	if err != nil || n < 1 || !known {
		return fmt.Errorf(`%q is not a rate: write for example "10/s", "60/m", "1000/h" or "0" for no limit`, text)
	}
	*r = Rate{N: n, Per: span}
	return nil
}

// Sync is how often the journal is made durable: "always" or a Duration.
type Sync Duration

func (s *Sync) set(v any) error {
	if v == "always" {
		*s = 0
		return nil
	}
	if err := (*Duration)(s).set(v); err != nil {
		return fmt.Errorf(`%w (or write "always")`, err)
	}
	// The bound is the pipeline's.
	if _, err := (pipeline.Config{State: defaultState(), Journal: pipeline.Journal{Sync: time.Duration(*s)}}).Filled(); err != nil {
		return fmt.Errorf(`%w, or write "always"`, err)
	}
	return nil
}

// SweepOf is the time from one sweep to the next: a Duration, or "auto", which is
// autoSweep here.
type SweepOf Duration

const autoSweep SweepOf = -1

func (s *SweepOf) set(v any) error {
	if v == "auto" {
		*s = autoSweep
		return nil
	}
	if err := (*Duration)(s).set(v); err != nil {
		return fmt.Errorf(`%w (or write "auto")`, err)
	}
	return nil
}

// time returns the longest time between two sweeps, as the pipeline takes it.
func (s SweepOf) time() time.Duration {
	if s == autoSweep {
		return defaults().Trees[0].Sweep
	}
	return none(time.Duration(s))
}

// LedgerSync is how long an outcome may wait until it is durable: a Duration, or "always",
// which is below 0 here.
type LedgerSync Duration

func (s *LedgerSync) set(v any) error {
	if v == "always" {
		*s = -1
		return nil
	}
	if err := (*Duration)(s).set(v); err != nil {
		return fmt.Errorf(`%w (or write "always")`, err)
	}
	if *s == 0 {
		*s = -1
	}
	// The bound is the pipeline's.
	if _, err := (pipeline.Config{State: defaultState(), Ledger: pipeline.Ledger{Sync: time.Duration(*s)}}).Filled(); err != nil {
		return fmt.Errorf(`%w, or write "always"`, err)
	}
	return nil
}

// Path is a file or folder in the file.
type Path string

func (p *Path) set(v any) error {
	text, ok := v.(string)
	switch {
	case !ok:
		return fmt.Errorf("%s stands where a path is expected: write it in 'single quotes'", kind(v))
	case text == "":
		return errors.New("the path is empty: name one, or take the line out")
	case strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("%s holds a control character: use 'single quotes', then a backslash stays a backslash", strconv.QuoteToASCII(text))
	}
	*p = Path(text)
	return nil
}

// Glob is a pattern for paths below a tree.
type Glob string

func (g *Glob) set(v any) error {
	text, ok := v.(string)
	switch {
	case !ok:
		return fmt.Errorf("%s stands where a glob is expected: write it in quotes", kind(v))
	case !doublestar.ValidatePattern(text):
		return fmt.Errorf("%q is not a glob: close each [ and {, and write \\[ for the character itself", text)
	}
	*g = Glob(text)
	return nil
}

// Count is a whole number of at least 1.
type Count int

func (c *Count) set(v any) error {
	n, ok := v.(int64)
	if text, is := v.(string); is {
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
			return fmt.Errorf("text stands where a number is expected: write %d without the quotes", n)
		}
	}
	switch {
	case !ok:
		return fmt.Errorf("%s stands where a whole number is expected: write for example 2", kind(v))
	case n < 1:
		return fmt.Errorf("%d is below 1: write 1 or more", n)
	case n > math.MaxInt32:
		return fmt.Errorf("%d is too large: write %d or less", n, math.MaxInt32)
	}
	*c = Count(n)
	return nil
}

// Workers is how many samples are in flight at once: a number above 0, or "auto", which is
// 0 here.
type Workers int

func (w *Workers) set(v any) error {
	if v == "auto" {
		*w = 0
		return nil
	}
	var n Count
	if err := n.set(v); err != nil {
		return fmt.Errorf(`%w, or write "auto"`, err)
	}
	*w = Workers(n)
	return nil
}

// Address is where a clamd listens: "unix:/path" or "tcp:host:port".
type Address string

var hostPort = regexp.MustCompile(`^(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):([0-9]{1,5})$`)

func (a *Address) set(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s stands where an address is expected: write \"unix:/path\" or \"tcp:host:port\"", kind(v))
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%s holds a control character: take it out", strconv.QuoteToASCII(text))
	}
	if path, is := strings.CutPrefix(text, "unix:"); is && strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		*a = Address(text)
		return nil
	}
	if rest, is := strings.CutPrefix(text, "tcp:"); is && isHostPort(rest) {
		*a = Address(text)
		return nil
	}
	return fmt.Errorf("%q is not an address: %s", text, addressHint(text))
}

func isHostPort(text string) bool {
	m := hostPort.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	port, err := strconv.ParseUint(m[2], 10, 16)
	return err == nil && port > 0
}

var badPort = regexp.MustCompile(`^(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(0+|[0-9]{5,})$`)

// bareIPv6 returns an IPv6 address and a port that stand without brackets, with them. It
// returns "" for anything else.
func bareIPv6(text string) string {
	if strings.Count(text, ":") < 2 || strings.ContainsAny(text, "[]") {
		return ""
	}
	i := strings.LastIndexByte(text, ':')
	host, port := text[:i], text[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 999 && net.ParseIP(host) != nil {
		return "[" + host + "]:" + port
	}
	if net.ParseIP(text) != nil {
		return "[" + text + "]:3310"
	}
	return ""
}

func addressHint(text string) string {
	bare := text
	for _, scheme := range []string{"unix:", "tcp:", "http:", "https:", "clamd:"} {
		bare = strings.TrimPrefix(bare, scheme)
	}
	switch trimmed := strings.TrimLeft(bare, "/"); {
	case badPort.MatchString(trimmed):
		return "the port is not between 1 and 65535: a clamd mostly has 3310"
	case bareIPv6(trimmed) != "":
		return fmt.Sprintf("an IPv6 address stands in brackets: did you mean %q?", "tcp:"+bareIPv6(trimmed))
	case isHostPort(trimmed):
		return fmt.Sprintf("did you mean %q?", "tcp:"+trimmed)
	case strings.HasPrefix(bare, "/"):
		return fmt.Sprintf("did you mean %q?", "unix:/"+trimmed)
	case strings.HasPrefix(text, "unix:"):
		return `the socket's path is not absolute: write "unix:/path"`
	case isHostPort(trimmed + ":3310"):
		return fmt.Sprintf("the port is missing: did you mean %q?", "tcp:"+trimmed+":3310")
	}
	return `write "unix:/path" or "tcp:host:port"`
}

// kind returns the name of a decoded value's type, to be shown to people.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date"
}
