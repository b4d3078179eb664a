#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# licences.sh prints the licences of the modules that the program holds, on Linux
# and on Windows.
set -eu
list='{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}'
{ GOOS=linux go list -deps -f "$list" . && GOOS=windows go list -deps -f "$list" .; } | sort -u | while read -r module version dir; do
	[ -n "$module" ] || continue
	printf '==== %s %s\n\n' "$module" "$version"
	found=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
	if [ -z "$found" ]; then
		echo "licences.sh: $module has no licence: look at it before it goes out" >&2
		exit 1
	fi
	for file in $found; do
		cat "$file"
		echo
	done
done
printf '==== The Go standard library\n\n'
cat "$(go env GOROOT)/LICENSE"
