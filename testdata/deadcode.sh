#!/bin/sh
# deadcode.sh TOOL: names the functions that nothing calls; TOOL is x/tools' deadcode.
#
# A function is dead if the program calls it on no system that it is compiled for.
# Both systems are asked, because code for Windows that needs no Windows is compiled
# for Linux too, where its tests run. Tests do not count as users of the program's
# own functions. They are the only users of the packages that help them, so those
# are asked in a second round.
set -eu
tool=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ask SYSTEM: writes what the tool says of it, and which files of ours are compiled.
ask() {
	GOOS=$1 "$tool" . >"$work/program.$1"
	GOOS=$1 "$tool" -test ./... >"$work/tests.$1"
	GOOS=$1 go list -test -deps -f '{{with .Module}}{{if .Main}}{{range $.GoFiles}}{{$.Dir}}/{{.}}
{{end}}{{range $.TestGoFiles}}{{$.Dir}}/{{.}}
{{end}}{{end}}{{end}}' ./... | sed -n "s|^$PWD/||p" | sort -u >"$work/files.$1"
}

export CGO_ENABLED=0
ask windows &
ask linux
wait $!

# dead ROUND ONE OTHER: what is dead for the one system and not in use for the other.
dead() {
	while read -r line; do
		if ! grep -qxF "${line%%:*}" "$work/files.$3" || grep -qxF "$line" "$work/$1.$3"; then
			echo "$line"
		fi
	done <"$work/$1.$2"
}

# Embedders call what package pipeline exports, and the program need not.
{
	for round in program tests; do
		dead $round linux windows
		dead $round windows linux
	done
} | sort -u | grep -vE '^pipeline/[^/]*\.go:.*unreachable func: ([A-Z][A-Za-z]*\.)?[A-Z]' >"$work/dead" || true
cat "$work/dead"
test ! -s "$work/dead"
