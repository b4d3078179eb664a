#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# debian.sh SUITE does what the README tells a newcomer on a bare Debian: `make demo`
# and `make test`. Before that an ordinary user runs `make check`, while there is nothing
# beyond make itself.
# Only Go and the caches come from this machine. CACHE keeps the base system, its
# packages and what Go has built. Root only.
set -euo pipefail
suite=$1
cd "$(dirname "$0")/.."
cache=${CACHE:-/var/cache/certpush-test}
base=$cache/$suite-bare
work=$(mktemp -d)
trap 'umount -R "$work/root" "$work/mod" 2>/dev/null || true; rm -rf "$work"' EXIT

if [ ! -d "$base" ]; then
	mkdir -p "$cache"
	rm -rf "$base.tmp"
	mmdebstrap --variant=minbase --include=make,ca-certificates "$suite" "$base.tmp" >"$base.log" 2>&1 || { cat "$base.log"; exit 1; }
	mv "$base.tmp" "$base"
fi
mkdir -p "$work"/{up,work,root,modup,modwork,mod,src,tmp} "$cache/$suite-debs/partial" "$cache/$suite-root" "$cache/$suite-user"
chmod 1777 "$work/tmp"
chown 1000:1000 "$cache/$suite-user"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/up,workdir=$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$(go env GOMODCACHE),upperdir=$work/modup,workdir=$work/modwork" "$work/mod"

# The sources as they are here, committed or not. The linters are static programs.
git ls-files -z --cached --others --exclude-standard --deduplicate | xargs -0 ls -d 2>/dev/null | tar -c -T - | tar -x -C "$work/src"
mkdir "$work/src/.tools"
for tool in .tools/golangci-lint@* .tools/deadcode@*; do
	[ ! -x "$tool" ] || cp "$tool" "$work/src/.tools/"
done

chown -R 1000:1000 "$work/src"

# What lies where inside.
binds="$(go env GOROOT) /usr/local/go ro
$work/mod /mod
$work/src /src
$work/tmp /tmp
$cache/$suite-debs /var/cache/apt/archives
$cache/$suite-root /root
$cache/$suite-user /home/user
/dev /dev
/sys /sys"

# step NAME SCRIPT [UID] runs it inside, in namespaces of its own: what it starts ends
# with it. The root is changed by pivot_root, for nobody in a chroot gets a user namespace.
# /src and /tmp are no overlay, because an overlay grants no leases.
step() {
	local begun=$SECONDS
	if ! BINDS=$binds ROOT=$work/root unshare --mount --pid --fork --kill-child --propagation private bash -euc '
		while read -r from to options; do
			mkdir -p "$ROOT$to"
			mount --rbind "$from" "$ROOT$to"
			[ -z "$options" ] || mount -o "remount,bind,$options" "$ROOT$to"
		done <<<"$BINDS"
		mount -t proc proc "$ROOT/proc"
		cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
		printf "#!/bin/sh\nexit 101\n" >"$ROOT/usr/sbin/policy-rc.d"
		chmod +x "$ROOT/usr/sbin/policy-rc.d"
		mkdir -p "$ROOT/.old"
		cd "$ROOT"
		pivot_root . .old
		umount -l /.old
		cd /src
		home=/root
		as=""
		[ "$2" = 0 ] || { home=/home/user; as="setpriv --reuid=$2 --regid=$2 --clear-groups"; }
		exec $as env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin \
			HOME=$home TERM=dumb LANG=C.UTF-8 GOTOOLCHAIN=local GOMODCACHE=/mod GOPROXY='"$(go env GOPROXY)"' bash -euo pipefail -c "$1"
	' bash "$2" "${3:-0}" >"$work/out" 2>&1; then
		cat "$work/out"
		echo "not ok - $suite: $1" && exit 1
	fi
	echo "ok - $suite: $1 ($((SECONDS - begun)) s)"
}

step "check, by an ordinary user, with nothing installed" 'make check' 1000
step "demo, by the same user" 'make demo' 1000
step "install what the tests need" 'make deps; test -x .tools/promtool'
step "test" 'CI=true make test TESTFLAGS="-short -skip \"\$(SLOW)\""'
