#!/usr/bin/awk -f
# Turns what `go test -bench` prints into a table.
/^Benchmark/ {
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	text = ""
	for (i = 3; i < NF; i += 2) {
		if ($(i + 1) == "ns/op" && NF > 6 && $2 == 1) continue # one run: its own metrics say it
		text = text sprintf("%14s %-18s", $i, $(i + 1))
	}
	printf "%-34s%s\n", name, text
	next
}
/^(---|FAIL|panic)/ || / _test\.go:/ { print; bad = 1 }
/SKIP/ { print }
END { exit bad }
