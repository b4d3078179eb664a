#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test-install.sh NEW OLD KIND SUITE installs, upgrades, kills and removes the
# packages in the repositories OLD and then NEW (see repos.sh) under a real
# systemd that is booted in a container, with a real clamd beside it. KIND is deb
# or rpm, SUITE the Debian that is booted. CACHE keeps the base image. Root only.
set -euo pipefail
new=$(realpath "$1") old=$(realpath "$2") kind=$3 suite=$4
cache=${CACHE:-/var/cache/certpush-test}
work=$(mktemp -d) leader='' nspawn='' group=certpush-test-$$

cleanup() {
	halt
	umount "$work/root" 2>/dev/null || true
	rm -rf "$work"
	for at in systemd unified; do
		[ ! -d "/sys/fs/cgroup/$at/$group" ] || find "/sys/fs/cgroup/$at/$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
	done
}
trap cleanup EXIT

mkdir -p "$cache"
if [ ! -d "$cache/$suite" ]; then
	rm -rf "$cache/$suite.tmp"
	mmdebstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,clamav-daemon,dnf,rpm "$suite" "$cache/$suite.tmp" >"$cache/$suite.log" 2>&1 || { cat "$cache/$suite.log"; exit 1; }
	mv "$cache/$suite.tmp" "$cache/$suite"
fi
mkdir -p "$work"/{up,work,root}
mount -t overlay overlay -o "lowerdir=$cache/$suite,upperdir=$work/up,workdir=$work/work" "$work/root"

# inside runs a shell script in the booted system.
inside() {
	nsenter -t "$leader" -m -u -i -n -p -C -r -w env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive bash -euc "$1"
}

boot() {
	(
		for at in systemd unified; do
			[ -d "/sys/fs/cgroup/$at" ] || continue
			mkdir -p "/sys/fs/cgroup/$at/$group"
			echo $BASHPID >"/sys/fs/cgroup/$at/$group/cgroup.procs"
		done
		exec setsid systemd-nspawn -q --system-call-filter="fanotify_init fanotify_mark open_by_handle_at" -D "$work/root" --machine="$group" --register=no --keep-unit --console=pipe \
			--bind-ro="$new:/new" --bind-ro="$old:/old" -b </dev/null >"$work/console" 2>&1
	) &
	nspawn=$!
	# A busy machine takes its time: each wait ends with the container, not by the clock.
	for _ in $(seq 6000); do
		leader=$(pgrep -x systemd -P "$nspawn" || true)
		[ -z "$leader" ] && kill -0 "$nspawn" 2>/dev/null || break
		sleep 0.02
	done
	for _ in $(seq 3600); do
		kill -0 "$nspawn" 2>/dev/null || break
		case $(inside 'systemctl is-system-running' 2>/dev/null || true) in running | degraded) return ;; esac
		sleep 0.05
	done
	cat "$work/console"
	echo "it did not boot" && exit 1
}

# halt is the power cut: PID 1 of the container is killed, and all in it.
halt() {
	[ -z "$leader" ] || kill -KILL "$leader" 2>/dev/null || true
	[ -z "$nspawn" ] || wait "$nspawn" 2>/dev/null || true
	leader='' nspawn=''
}

# step runs a script inside; what it printed is shown when it fails.
step() {
	local begun=$EPOCHREALTIME
	if ! inside "$lib"$'\n'"$2" >"$work/out" 2>&1; then
		cat "$work/out"
		inside 'systemctl --no-pager status certpush; journalctl --no-pager -n 40 -u certpush; cat /etc/certpush.toml' || true
		echo "not ok - $kind $suite: $1" && exit 1
	fi
	echo "ok - $kind $suite: $1 ($(awk "BEGIN {printf \"%.1f\", $EPOCHREALTIME - $begun}") s)"
}

# What the steps have at hand inside.
lib='
# until_ok COMMAND waits for it, a minute unless WITHIN says otherwise. The journal is asked
# by it too: it gets a line a moment after what the line tells of.
until_ok() { for _ in $(seq $((${WITHIN:-60} * 50))); do eval "$1" >/dev/null 2>&1 && return; sleep 0.02; done; echo "waited in vain for: $1"; return 1; }
# not COMMAND succeeds where it fails; set -e does not see to "! COMMAND".
not() { if eval "$*"; then echo "this should have failed: $*"; return 1; fi; }
pid() { systemctl show -p MainPID --value certpush; }
outcomes() { cat /var/lib/certpush/ledger/verdicts.log* | grep -c "\"outcome\":\"done\"" || true; }
eicar() { printf "%s%s" "X5O!P%@AP[4\\PZX54(P^)7CC)7}\$" "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!\$H+H*"; }
repo() { # old or new
	if [ '"$kind"' = deb ]; then
		printf "Types: deb\nURIs: file:///%s/apt\nSuites: ./\nSigned-By: /%s/certpush.asc\n" $1 $1 >/etc/apt/sources.list.d/certpush.sources
		apt-get -q update
	else
		rpm --import /$1/certpush.asc
		printf "[certpush]\nname=certpush\nbaseurl=file:///%s/rpm\nrepo_gpgcheck=1\ngpgcheck=0\ngpgkey=file:///%s/certpush.asc\n" $1 $1 >/etc/yum.repos.d/certpush.repo
		dnf -q clean all
	fi
}
install() { if [ '"$kind"' = deb ]; then apt-get install -y -q -o Dpkg::Use-Pty=0 "$@" </dev/null; else dnf -y -q --releasever=9 install "$@"; fi; }
upgrade() { if [ '"$kind"' = deb ]; then apt-get install -y -q -o Dpkg::Use-Pty=0 --only-upgrade certpush </dev/null; else dnf -y -q --releasever=9 upgrade certpush; fi; }
remove() { if [ '"$kind"' = deb ]; then apt-get remove -y -q certpush; else dnf -y -q --releasever=9 remove certpush; fi; }
version() { certpush version | cut -d" " -f2; }
'

boot
step "clamd is up" '
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
mkdir -p /etc/yum.repos.d
mkdir -p /etc/systemd/system/clamav-daemon.service.d
printf "[Unit]\nConditionPathExistsGlob=\n" >/etc/systemd/system/clamav-daemon.service.d/lab.conf
echo "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f:68:Lab.Eicar" >/var/lib/clamav/lab.hsb
chown clamav: /var/lib/clamav/lab.hsb
systemctl disable -q --now clamav-freshclam 2>/dev/null || true
systemctl daemon-reload
systemctl enable -q clamav-daemon
systemctl restart clamav-daemon.socket clamav-daemon
until_ok "[ -S /run/clamav/clamd.ctl ] && systemctl is-active -q clamav-daemon"
'
if [ "$kind" = rpm ]; then
	# Debian has no database of rpm packages: one stands for what it brings itself.
	step "the host as rpm sees it" 'rpm -i --nodeps /old/host-base.rpm'
fi
step "install: it runs, is enabled, is ready and idle" '
repo old
install certpush
'"$([ "$kind" = deb ] && echo : || echo 'systemctl start certpush')"'
systemctl is-active -q certpush
systemctl is-enabled -q certpush
[ "$(systemctl show -p User --value certpush)" = certpush ]
[ "$(ps -o user= -p $(pid))" = certpush ]
systemctl show -p StatusText --value certpush | grep -q "^idle: no \[\[watch\]\] in /etc/certpush.toml$"
[ "$(stat -c "%a %U %G" /etc/certpush.toml)" = "640 root certpush" ]
[ "$(stat -c "%a %U" /var/lib/certpush)" = "750 certpush" ]
bash -n /usr/share/bash-completion/completions/certpush
'
step "six lines, a reload, and a dropped file is judged" '
mkdir -p /srv/samples
cat >/etc/certpush.toml <<EOF
[[watch]]
path = "/srv/samples"

[scanner.clamav]
type    = "clamd"
address = "unix:/run/clamav/clamd.ctl"
EOF
certpush check -c /etc/certpush.toml
systemctl reload certpush
until_ok "certpush status | grep -q \"^clamav *up\""
eicar >/srv/samples/eicar
until_ok "grep -q \"/srv/samples/eicar.*malicious.*Lab.Eicar\" /var/lib/certpush/ledger/verdicts.log"
until_ok "systemctl show -p StatusText --value certpush | grep -q \"Everything that has settled is pushed\""
until_ok "journalctl -q -u certpush -p warning | grep -q malicious"
certpush verify
'
step "a sample that others may not read is judged too" '
echo secret >/srv/samples/secret
chmod 600 /srv/samples/secret
until_ok "grep -q /srv/samples/secret.*clean /var/lib/certpush/ledger/verdicts.log"
'
step "kill -9: it comes back" '
was=$(pid); kill -9 $was
until_ok "systemctl is-active -q certpush && [ \$(pid) != $was ] && [ \$(pid) != 0 ]"
until_ok "certpush status"
'
step "the watchdog takes what hangs" '
mkdir -p /etc/systemd/system/certpush.service.d
printf "[Service]\nWatchdogSec=2s\n" >/etc/systemd/system/certpush.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart certpush
until_ok "certpush status"
sleep 3; was=$(pid); [ "$(systemctl show -p NRestarts --value certpush)" = 0 ] # while it is fed
kill -STOP $was
until_ok "[ \$(pid) != $was ] && [ \$(pid) != 0 ] && systemctl is-active -q certpush"
until_ok "journalctl -q -u certpush | grep -qi watchdog"
rm /etc/systemd/system/certpush.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart certpush
until_ok "certpush status"
'
step "a bad file is refused, the old one stays; then a good one" '
cp /etc/certpush.toml /root/good
echo "stat = 1" >>/etc/certpush.toml
was=$(pid)
not systemctl reload certpush
code=0; certpush reload || code=$?; [ $code = 78 ]
[ "$(pid)" = $was ]
echo ok >/srv/samples/meanwhile
until_ok "grep -q /srv/samples/meanwhile /var/lib/certpush/ledger/verdicts.log"
cat /root/good >/etc/certpush.toml
mkdir -p /srv/more
printf "\n[[watch]]\npath = \"/srv/more\"\n" >>/etc/certpush.toml
systemctl reload certpush
[ "$(pid)" = $was ]
echo more >/srv/more/more
until_ok "grep -q /srv/more/more /var/lib/certpush/ledger/verdicts.log"
cat >/root/wrong.toml <<EOF
stat = 1
EOF
cp /etc/certpush.toml /root/right
cp /root/wrong.toml /etc/certpush.toml
not systemctl restart certpush
until_ok "systemctl is-failed -q certpush"
[ "$(systemctl show -p ExecMainStatus --value certpush)" = 78 ]
systemctl is-failed -q certpush
cat /root/right >/etc/certpush.toml
systemctl reset-failed certpush
systemctl start certpush
'
step "a reload finds the service where it is, and by a signal where it listens nowhere" '
cp /etc/certpush.toml /root/right
was=$(pid)
until_ok "certpush status"
(cat /root/right; printf "\n[admin]\nlisten = \"127.0.0.1:9550\"\n") >/etc/certpush.toml
systemctl reload certpush
until_ok "certpush status"
(cat /root/right; printf "\n[admin]\nlisten = \"off\"\n") >/etc/certpush.toml
systemctl reload certpush
cat /root/right >/etc/certpush.toml
systemctl reload certpush
until_ok "certpush status"
[ "$(pid)" = $was ]
'
step "a state that the sandbox forbids ends the start, and the drop-in lets it be written" '
mkdir -p /data && chown certpush: /data
cp /etc/certpush.toml /root/right
(printf "state = \"/data/state\"\n"; cat /root/right) >/etc/certpush.toml
not timeout 20 systemctl restart certpush
until_ok "systemctl is-failed -q certpush"
until_ok "journalctl -q -u certpush -p err | grep -q \"/data/state cannot be written: ProtectSystem=strict.*certpush service dropin\""
certpush service dropin >/etc/systemd/system/certpush.service.d/local.conf
mkdir /data/state && chown certpush: /data/state # as the drop-in says
systemctl daemon-reload
systemctl reset-failed certpush
systemctl start certpush
until_ok "certpush status"
rm /etc/systemd/system/certpush.service.d/local.conf
systemctl daemon-reload
cat /root/right >/etc/certpush.toml
systemctl restart certpush
rm -rf /data
'
step "a tree that the sandbox hides is named, and the drop-in shows it" '
mkdir -p /tmp/hidden /data && chown certpush: /data
cp /etc/certpush.toml /root/right
printf "\n[[watch]]\npath = \"/tmp/hidden\"\n" >>/etc/certpush.toml
systemctl reload certpush
until_ok "journalctl -q -u certpush -p err | grep -q \"/tmp/hidden.*PrivateTmp=yes in the unit\""
(cat /root/right; printf "\n[log]\nto = \"/data/certpush.log\"\n") >/etc/certpush.toml
not systemctl reload certpush
until_ok "journalctl -q -u certpush | grep -q \"ProtectSystem=strict\""
(cat /root/right; printf "\n[[watch]]\npath = \"/tmp/hidden\"\n[log]\nto = \"/data/certpush.log\"\n") >/etc/certpush.toml
certpush service dropin >/etc/systemd/system/certpush.service.d/local.conf
systemctl daemon-reload
systemctl restart certpush
echo seen >/tmp/hidden/seen
until_ok "grep -q /tmp/hidden/seen /var/lib/certpush/ledger/verdicts.log"
[ -s /data/certpush.log ]
rm /etc/systemd/system/certpush.service.d/local.conf
systemctl daemon-reload
cat /root/right >/etc/certpush.toml
systemctl restart certpush
rm -rf /data /tmp/hidden
'
step "a deep tree is heard by fanotify: with the drop-in, and without more rights; without it inotify takes its place" '
mkdir -p /srv/deep
mount -t tmpfs none /srv/deep # a file system that can be heard: that of the container is an overlay
deep=/srv/deep/$(seq -s / 40)
mkdir -p $deep
cp /etc/certpush.toml /root/right
printf "\n[[watch]]\npath = \"/srv/deep\"\nengine = \"fanotify\"\n" >>/etc/certpush.toml
systemctl reload certpush
until_ok "certpush status | grep -q \"^deep *inotify\""
certpush status | grep -q "deep is watched by inotify instead: .*certpush service dropin"
echo before >$deep/before
until_ok "grep -q $deep/before /var/lib/certpush/ledger/verdicts.log"
certpush service dropin >/etc/systemd/system/certpush.service.d/local.conf
systemctl daemon-reload
systemctl restart certpush
until_ok "certpush status | grep -q \"^deep *fanotify\""
[ "$(systemctl show -p NFileDescriptorStore --value certpush)" = 0 ] # nobody would empty what lies there
grep -q "^CapEff:.*0000000010000004$" /proc/$(pid)/status
until_ok "certpush status | grep -q \"^deep .* ago \""
echo deep >$deep/heard
until_ok "grep -q $deep/heard /var/lib/certpush/ledger/verdicts.log"
cat /var/lib/certpush/journal/*.log | grep "$deep/heard" | grep -q "\"via\":\"event\""
systemctl reload certpush
until_ok "certpush status | grep -q \"^deep *fanotify\""
was=$(pid); kill -9 $was
until_ok "[ \$(pid) != $was ] && certpush status | grep -q \"^deep *fanotify\""
rm /etc/systemd/system/certpush.service.d/local.conf
systemctl daemon-reload
cat /root/right >/etc/certpush.toml
systemctl restart certpush
until_ok "certpush status"
umount /srv/deep
'
step "upgrade: the edited file stays, and it runs on" '
was=$(pid) before=$(version) edited=$(sha256sum </etc/certpush.toml)
repo new
upgrade
[ "$(version)" != "$before" ]
systemctl is-active -q certpush
[ "$(pid)" != $was ]
[ "$(sha256sum </etc/certpush.toml)" = "$edited" ]
[ '"$kind"' = deb ] || [ -s /etc/certpush.toml.rpmnew ]
rm -f /etc/certpush.toml.rpmnew
'
step "samples wait" '
systemctl stop clamav-daemon clamav-daemon.socket
before=$(outcomes)
for i in $(seq 50); do echo $i >/srv/samples/waits-$i; done
until_ok "grep -c waits- /var/lib/certpush/journal/monitor.log* | grep -q :50 || [ \$(cat /var/lib/certpush/journal/*.log* | grep -c waits-) = 50 ]"
echo $before >/root/before; sync
'
halt
boot
step "the whole system was killed and booted: they are judged" '
until_ok "systemctl is-active -q certpush && systemctl is-active -q clamav-daemon"
until_ok "[ \$(grep -c /srv/samples/waits- /var/lib/certpush/ledger/verdicts.log) -ge 50 ]"
[ "$(grep -o "/srv/samples/waits-[0-9]*" /var/lib/certpush/ledger/verdicts.log | sort -u | wc -l)" = 50 ]
certpush verify
'
step "what an administrator disabled stays so, and whose the configuration is" '
systemctl disable -q certpush
[ '"$kind"' = rpm ] || dpkg-statoverride --update --add root adm 640 /etc/certpush.toml
'"$([ "$kind" = deb ] && echo 'apt-get install -y -q --reinstall certpush' || echo 'dnf -y -q --releasever=9 reinstall certpush')"'
not systemctl is-enabled -q certpush
systemctl enable -q certpush
[ '"$kind"' = rpm ] || [ "$(stat -c %G /etc/certpush.toml)" = adm ]
[ '"$kind"' = rpm ] || dpkg-statoverride --remove /etc/certpush.toml
chgrp certpush /etc/certpush.toml
'
step "service install refuses where a package is" '
code=0; certpush service install >/root/refused 2>&1 || code=$?
[ $code != 0 ]
grep -q "package" /root/refused
[ ! -e /etc/systemd/system/certpush.service ]
'
step "remove keeps configuration and state; install takes them up" '
remove
not systemctl is-active -q certpush
[ -e /etc/certpush.toml -o -e /etc/certpush.toml.rpmsave ]
[ -s /var/lib/certpush/ledger/verdicts.log ]
[ ! -e /usr/bin/certpush ]
[ '"$kind"' = deb ] || [ ! -e /usr/share/certpush -a ! -e /usr/share/doc/certpush -a ! -e /usr/share/licenses/certpush ]
[ ! -e /etc/certpush.toml.rpmsave ] || cp /etc/certpush.toml.rpmsave /root/right
install certpush
[ '"$kind"' = deb ] || { cat /root/right >/etc/certpush.toml; systemctl restart certpush; }
until_ok "systemctl is-active -q certpush && certpush status"
echo again >/srv/samples/again
until_ok "grep -q /srv/samples/again /var/lib/certpush/ledger/verdicts.log"
'
if [ "$kind" = deb ]; then
	step "purge leaves nothing" '
apt-get purge -y -q certpush
rm -f /etc/apt/sources.list.d/certpush.sources
left=$(find / -xdev -name "*certpush*" -not -path "/proc/*" -not -path "/sys/*" -not -path "/new*" -not -path "/old*" -not -path "/root/*" -not -path "/var/log/journal/*" -not -path "/var/lib/apt/lists/*" 2>/dev/null || true)
[ -z "$left" ] || { echo "left: $left"; exit 1; }
'
	step "by hand: install, start, status, uninstall" '
apt-get install -y -q -o Dpkg::Use-Pty=0 /new/apt/certpush_*_amd64.deb >/dev/null
cp /usr/bin/certpush /usr/local/bin/certpush
apt-get purge -y -q certpush >/dev/null
hash -r
certpush service install
systemctl is-enabled -q certpush
grep -q "^ExecStart=/usr/local/bin/certpush run" /etc/systemd/system/certpush.service
certpush service start
until_ok "certpush service status | grep -q running"
[ "$(ps -o user= -p $(pid))" = certpush ]
certpush service restart
certpush service stop
certpush service uninstall
[ ! -e /etc/systemd/system/certpush.service ]
[ -e /etc/certpush.toml ]
'
	step "by hand, and a package after it: it is said, and uninstall puts the package'\''s unit in force" '
certpush service install
certpush service start
apt-get install -y -q -o Dpkg::Use-Pty=0 /new/apt/certpush_*_amd64.deb >/root/said 2>&1
grep -q "shadows the package.s unit" /root/said
[ "$(systemctl show -p FragmentPath --value certpush)" = /etc/systemd/system/certpush.service ]
/usr/bin/certpush service uninstall
case $(systemctl show -p FragmentPath --value certpush) in */lib/systemd/system/certpush.service) ;; *) exit 1 ;; esac
systemctl is-enabled -q certpush
systemctl is-active -q certpush
readlink /proc/$(pid)/exe | grep -q "^/usr/bin/certpush"
code=0; /usr/bin/certpush service uninstall || code=$?; [ $code != 0 ]
'
fi
step "no unit has failed" '[ -z "$(systemctl --failed --no-legend --plain | grep certpush)" ]'
echo "all of $kind on $suite in $SECONDS s"
