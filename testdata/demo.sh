#!/usr/bin/env bash
# demo.sh [PROGRAM] shows the main job in a temporary folder: it watches a tree, drops
# files and prints the verdicts. The scanner is the built-in hash list, which knows only
# EICAR.
set -euo pipefail

bin=$(realpath "${1:-./certpush}")
dir=$(mktemp -d)
cd "$dir"
mkdir samples
cat > certpush.toml <<EOF
state = "$dir/state"

[[watch]]
path = "$dir/samples"

[admin]
listen = "unix:$dir/admin.sock"

[log]
to = "$dir/certpush.log"
EOF

"$bin" run -c certpush.toml & pid=$!
stop() {
	kill "$pid" 2>/dev/null || true
	wait "$pid" || true
	rm -rf "$dir"
}
trap stop EXIT

until "$bin" status -c certpush.toml >/dev/null 2>&1; do
	kill -0 "$pid" 2>/dev/null || { echo "certpush did not start:"; cat certpush.log; exit 1; }
	sleep 0.1
done

echo "watching $dir/samples; dropping three files"
echo "just a note" > samples/note.txt
mkdir -p samples/mail/2026
head -c 100000 /dev/urandom > samples/mail/2026/attachment.bin
# The EICAR test file stands here in two parts, so that no scanner takes this script away.
printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR' '-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' > samples/mail/eicar.com

ledger=state/ledger/verdicts.log
for _ in $(seq 600); do # a minute on a machine that is busy
	[ "$(grep -c '"outcome"' "$ledger" 2>/dev/null)" = 3 ] && break
	sleep 0.1
done

echo
echo "$ledger says:"
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<< "$2"; }
while IFS= read -r line; do
	[[ $line == *'"outcome"'* ]] || continue
	path=$(field path "$line")
	printf '  %-8s %-10s %-16s %s\n' "$(field outcome "$line")" "$(field verdict "$line")" "$(field signature "$line")$(field reason "$line")" "${path#"$dir/"}"
done < "$ledger"
echo
"$bin" status -c certpush.toml
[ "$(grep -c '"outcome"' "$ledger")" = 3 ] || { echo "the verdicts did not come:"; cat certpush.log; exit 1; }
