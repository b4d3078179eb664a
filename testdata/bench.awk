#!/usr/bin/awk -f
# Makes the table of `make bench`: of the rows in bench.tsv, and of what `go test -bench`
# printed, which comes behind it. A figure is the median of the runs, then the least and
# the largest. It fails where a row has no figure.
BEGIN { FS = "\t" }

FNR == NR {
	if (/^#/) next
	what[++rows] = $1; name[rows] = $2; ours[rows] = $3; peer[rows] = $4; ratio[rows] = $5; aim[rows] = $6
	next
}

/^Benchmark/ {
	n = split($0, word, /[ \t]+/)
	bench = word[1]
	sub(/^Benchmark/, "", bench)
	sub(/-[0-9]+$/, "", bench)
	for (i = 3; i < n; i += 2) {
		key = bench SUBSEP word[i + 1]
		value[key, ++runs[key]] = word[i]
	}
	next
}
/^(---|FAIL|panic)/ || /_test\.go:/ { print > "/dev/stderr" }

function shown(v,    text) {
	if (v < 1000) return sprintf(v >= 100 ? "%.0f" : v >= 10 ? "%.1f" : "%.3g", v)
	for (v = sprintf("%d", v); length(v) > 3; v = substr(v, 1, length(v) - 3)) text = "," substr(v, length(v) - 2) text
	return v text
}

# figure returns the median of a metric and its spread.
function figure(row, metric,    key, n, i, j, t, a) {
	if (metric == "-" || metric == "") return "-"
	key = name[row] SUBSEP metric
	n = runs[key]
	if (!n) { missing = missing "\n" name[row] " " metric; return "?" }
	for (i = 1; i <= n; i++) {
		a[i] = value[key, i] + 0
		for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
	}
	if (a[1] == a[n]) return shown(a[1])
	return shown(a[int((n + 1) / 2)]) " [" shown(a[1]) " to " shown(a[n]) "]"
}

END {
	print "| what | certpush | peer | ratio | aim | benchmark |"
	print "|---|---|---|---|---|---|"
	for (r = 1; r <= rows; r++)
		printf "| %s | %s | %s | %s | %s | %s |\n", what[r], figure(r, ours[r]), figure(r, peer[r]), figure(r, ratio[r]), aim[r] == "" ? "-" : aim[r], name[r]
	if (missing != "") { print "no figure:" missing > "/dev/stderr"; exit 1 }
}
