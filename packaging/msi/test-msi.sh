#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test-msi.sh [VERSION] builds the MSI, holds its tables against golden/, and
# installs, upgrades, kills and removes it under Wine, with a real clamd beside it.
# UPDATE=1 writes golden/. Root on Debian only; elsewhere it skips, which is a
# failure under CI.
#
# Wine stands in for Windows, and not in all: ../../docs/windows.md says what it
# cannot show, and acceptance.ps1 asks a real one.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cd "$here/../.."
new=${1:-0.1.0} old=0.0.1

skip() {
	echo "skip - the MSI: $1"
	[ "${CI:-}" != true ] || { echo "not ok - under CI nothing is skipped"; exit 1; }
	exit 0
}
[ "$(id -u)" = 0 ] || skip "its test runs as root: clamd and Wine leave files"
for tool in wixl msibuild msiinfo osslsigncode zip unzip openssl x86_64-w64-mingw32-gcc clamd /usr/lib/wine/wine64; do
	command -v "$tool" >/dev/null || skip "$tool is not here: make test-windows installs it on Debian"
done

work=$(mktemp -d)
export here work WINEPREFIX=$work/prefix SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export run=$PWD/testdata/wine/run.sh server=/usr/lib/wine/wineserver64 c=$WINEPREFIX/drive_c GO=${GO:-go} new old UPDATE=${UPDATE:-}
cleanup() {
	wait "$prefix" || true
	"$server" -k 2>/dev/null || true
	[ ! -f "$work/clamd.pid" ] || kill -KILL "$(cat "$work/clamd.pid")" 2>/dev/null || true
	rm -rf "$work"
}
# Made while the packages are built.
testdata/wine/prefix.sh "$WINEPREFIX" </dev/null >"$work/prefix.log" 2>&1 &
prefix=$!
trap cleanup EXIT

# step NAME SCRIPT runs a script; what it printed is shown when it fails.
step() {
	local begun=$EPOCHREALTIME
	if ! bash -euo pipefail -c "$lib"$'\n'"$2" >"$work/out" 2>&1 </dev/null; then
		cat "$work/out"
		tail -n 20 "$work/wine.out" "$c/ProgramData/certpush/"{certpush.toml,certpush.log} "$work/clamd.log" 2>/dev/null || true
		tr -d '\0\r' <"$c/msi.log" 2>/dev/null | tail -n 20 || true
		echo "not ok - the MSI: $1" && exit 1
	fi
	echo "ok - the MSI: $1 ($(awk "BEGIN {printf \"%.1f\", $EPOCHREALTIME - $begun}") s)"
}

# What the steps have at hand.
lib='
# until_ok COMMAND waits for it, ten seconds unless WITHIN says otherwise.
until_ok() { for _ in $(seq $((${WITHIN:-60} * 20))); do eval "$1" >/dev/null 2>&1 && return; sleep 0.05; done; echo "waited in vain for: $1"; return 1; }
# not COMMAND succeeds where it fails; set -e does not see to "! COMMAND".
not() { if eval "$*"; then echo "this should have failed: $*"; return 1; fi; }
is() { [ "$1" = "$2" ] || { echo "it is: $1, and should be: $2"; return 1; }; }
# Never a pipe: what Wine leaves running would hold it open.
wine() { local code=0; timeout 120 "$run" "$@" >"$work/wine.out" 2>&1 </dev/null || code=$?; tr -d "\r" <"$work/wine.out"; return $code; }
program="$c/Program Files/certpush/certpush.exe" data=$c/ProgramData/certpush
certpush() { wine "C:\\Program Files\\certpush\\certpush.exe" "$@"; }
verdicts() { cat "$data"/ledger/verdicts.log*; }
state() { wine sc query certpush | awk "/STATE/ {print \$4}"; }
# value KEY NAME prints a value of the registry.
value() { wine reg query "HKLM\\$1" /v "$2" | sed -n "s/^ *$2 *REG_[A-Z_]* *//p"; }
services="SYSTEM\\CurrentControlSet\\Services"
# msi /i|/x FILE [PROPERTY=VALUE]... Its exit codes are Windows'"'"' modulo 256.
msi() { wine msiexec "$1" "Z:${2//\//\\}" /qn /l*v "C:\\msi.log" "${@:3}"; }
# Under Wine the service manager calls a service stopped while its process still
# ends, and an uninstall that comes then leaves the program. An upgrade first
# unpacks the new one, which takes longer than that.
ended() { not grep -qsF "$program" "/proc/[0-9]*/maps"; }
stop() { wine net stop certpush; until_ok ended; }
# upgrade FILE over a service that runs. Where its process still ends when the new
# program comes, that is put into place at the next boot, and msiexec says 3010.
upgrade() {
	local code=0
	msi /i "$1" || code=$?
	[ $code != 0 ] || return 0
	is $code $((3010 % 256))
	stop
	"$server" -k
	"$server" -p
	wine wineboot
	until_ok "[ \"\$(state)\" = RUNNING ]"
}
clamd_up() {
	clamd -c "$work/clamd.conf" >/dev/null 2>&1 & echo $! >"$work/clamd.pid"
	until_ok "printf zPING\\\\0 >/dev/tcp/127.0.0.1/$(cat "$work/port")"
}
clamd_down() { kill -KILL "$(cat "$work/clamd.pid")"; rm "$work/clamd.pid"; }
eicar() { printf "%s%s" "X5O!P%@AP[4\\PZX54(P^)7CC)7}\$" "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!\$H+H*"; }
free_port() { perl -MIO::Socket::INET -e "print IO::Socket::INET->new(Listen => 1, LocalAddr => q(127.0.0.1))->sockport"; }
old_msi=$work/old/certpush-$old-x64.msi new_msi=$work/new/certpush-$new-x64.msi signed_msi=$work/signed/certpush-$new-x64.msi
'

step "built twice, the same to the byte" '
"$here/build.sh" "$old" "$work/old"
"$here/build.sh" "$new" "$work/new"
touch "$here/certpush.toml" "$here/certpush.ico"
"$here/build.sh" "$new" "$work/again"
for file in "$work/new"/*; do cmp "$file" "$work/again/${file##*/}"; done
rm -rf "$work/again"
not cmp -s "$work/old/certpush-$old-x64.msi" "$new_msi"
[ ! -e certpush_windows_amd64.syso ]
perl "$here/icon.pl" | cmp - "$here/certpush.ico"
'
step "versions that Windows cannot count are refused" '
for version in 1.2 256.0.0 1.0.70000 v1.0.0.0 one; do code=0; "$here/build.sh" "$version" "$work/refused" || code=$?; is $code 64; done
'
step "its tables are the golden ones" '
for table in AppSearch Component CreateFolder CustomAction Directory Environment Feature File InstallExecuteSequence InstallUISequence LaunchCondition \
	Media MsiLockPermissionsEx Property RegLocator Registry ServiceControl ServiceInstall Upgrade _SummaryInformation; do
	order="-k1" change="{print}"
	case $table in
	Component) change="\$5 == \"\" || NR <= 3 {print}" ;;
	File) change="NR > 3 {\$4 = \"SIZE\"; if (\$5 != \"\") \$5 = \"VERSION\"} {print}" ;;
	Property) change="\$1 == \"ProductCode\" || \$1 == \"ProductVersion\" {\$2 = \"OF THIS BUILD\"} {print}" ;;
	Upgrade) change="NR > 3 && \$2 != \"0.0.0\" {\$2 = \"VERSION\"} NR > 3 && \$3 != \"\" {\$3 = \"VERSION\"} {print}" ;;
	_SummaryInformation) change="\$1 == 3 || \$1 == 9 || \$1 == 12 || \$1 == 13 {\$2 = \"OF THIS BUILD\"} {print}" order="-k1n" ;;
	Install*) order="-k3n" ;;
	esac
	msiinfo export "$new_msi" $table | tr -d "\r" | awk -F"\t" -v OFS="\t" "$change" >"$work/table"
	{ head -n 3 "$work/table"; tail -n +4 "$work/table" | LC_ALL=C sort -t"$(printf "\t")" $order; } >"$work/$table.idt"
	[ -z "$UPDATE" ] || cp "$work/$table.idt" "$here/golden/"
	diff -u "$here/golden/$table.idt" "$work/$table.idt"
done
# The rights are those of the account that Windows will make: the way to its
# number, tried on a well-known one.
eval "$(sed -n "/^service_sid()/,/^}/p" "$here/build.sh")"
is "$(service_sid TrustedInstaller)" S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464
is "$(grep -o "S-1-5-80-[0-9-]*" "$here/golden/MsiLockPermissionsEx.idt" | sort -u)" "$(service_sid certpush)"
grep -qF "$(service_sid certpush)" "$here/acceptance.ps1"
# And the rights are those that service configure gives.
rights=$(sed -n "s/S-1-5-80[0-9-]*/\" + sid + \"/g; s/.*\(O:BAD:.*\)\t.*/return \"\1\"/p" "$here/golden/MsiLockPermissionsEx.idt")
is "$(grep -cxF "$(sed "s/^/\t/" <<<"$rights")" installer/configure.go)" 2
# Nothing that a repair starts: whoever may ask for one could reach the console of
# what the installer runs.
is "$(awk -F"\t" "\$2 ~ /^[0-9]+\$/ && \$2 != 51 {print \$1}" "$work/CustomAction.idt")" Configure
grep -q "^Configure	NOT Installed	" "$work/InstallExecuteSequence.idt"
'
step "the program says who it is, and takes long paths" '
$GO tool -modfile=tools/go.mod go-winres extract --dir "$work/resources" "$work/new/certpush-windows-amd64.exe"
grep -q "\"long-path-aware\": true" "$work/resources/winres.json"
grep -q "\"ProductVersion\": \"$new\"" "$work/resources/winres.json"
in_msi=$(msiinfo export "$new_msi" File | awk -F"\t" "\$1 == \"filProgram\" {print \$5}")
grep -q "\"file_version\": \"$in_msi\"" "$work/resources/winres.json"
[ -s "$work/resources/APP_0000.ico" ]
'
step "the zip holds the same program, and all that belongs to it" '
unzip -q "$work/new/certpush-$new-windows-amd64.zip" -d "$work/zip"
cd "$work/zip/certpush-$new"
cmp certpush.exe "$work/new/certpush-windows-amd64.exe"
for file in certpush.toml README.md LICENSE.txt third-party-licenses.txt docs/threat-model.md; do [ -s $file ]; done
'
step "signed, and a byte that is changed later shows" '
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" -subj "/CN=certpush test" -addext extendedKeyUsage=codeSigning
SIGN_CERT=$work/cert.pem SIGN_KEY=$work/key.pem "$here/build.sh" "$new" "$work/signed" | tee "$work/said"
grep -q "^signed: " "$work/said"
verify() { osslsigncode verify -CAfile "$work/cert.pem" -time "$(date +%s)" -in "$1"; }
unzip -q "$work/signed/certpush-$new-windows-amd64.zip" -d "$work/signed/zip"
cmp "$work/signed/zip/certpush-$new/certpush.exe" "$work/signed/certpush-windows-amd64.exe"
for file in "$signed_msi" "$work/signed/certpush-windows-amd64.exe"; do
	verify "$file"
	cp "$file" "$work/tampered"
	printf X | dd of="$work/tampered" bs=1 seek=600000 conv=notrunc status=none
	not verify "$work/tampered"
done
not verify "$new_msi"
'
wait "$prefix" || { cat "$work/prefix.log"; echo "not ok - the MSI: no Wine prefix" && exit 1; }

step "clamd is up" '
free_port >"$work/port"
free_port >"$work/admin"
mkdir -p "$work/db" "$work/tmp"
eicar | sha256sum | sed "s/ .*/:68:Lab.Eicar/" >"$work/db/lab.hsb"
cat >"$work/clamd.conf" <<EOF
Foreground yes
LogFile $work/clamd.log
DatabaseDirectory $work/db
TemporaryDirectory $work/tmp
TCPAddr 127.0.0.1
TCPSocket $(cat "$work/port")
AlertExceedsMax yes
EOF
clamd_up
'
step "installed without a word: the service runs" '
msi /i "$old_msi"
is "$(certpush version | cut -d" " -f2)" "$old"
is "$(state)" RUNNING
for file in LICENSE.txt third-party-licenses.txt; do [ -s "$c/Program Files/certpush/$file" ]; done
tr -d "\r" <"$data/certpush.toml" | cmp - "$here/certpush.toml"
value "$services\\certpush" ImagePath | grep -q "^\"C:.Program Files.certpush.certpush.exe\" run -c \"C:.ProgramData.certpush.certpush.toml\"\$"
is "$(value "$services\\certpush" ObjectName)" "NT SERVICE\\certpush"
is "$(value "$services\\certpush" Start)" 0x2
is "$(value "$services\\EventLog\\Application\\certpush" EventMessageFile)" "%SystemRoot%\\System32\\EventCreate.exe"
is "$(value "$services\\EventLog\\Application\\certpush" TypesSupported)" 0x7
value "SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment" PATH | grep -qF "C:\\Program Files\\certpush"
code=0; certpush service install || code=$?; is $code 1
grep -q "the MSI installed certpush" "$work/wine.out"
until_ok "[ -s \"$data/admin.token\" ]" # its state is where it should be
'
step "eight lines, and a dropped file is judged" '
stop
mkdir -p "$c/samples"
cat >"$data/certpush.toml" <<EOF
[[watch]]
path = '"'C:\\samples'"'
[scanner.clamav]
type    = "clamd"
address = "tcp:127.0.0.1:$(cat "$work/port")"
[admin]
listen  = "127.0.0.1:$(cat "$work/admin")"
[log]
to      = '"'C:\\ProgramData\\certpush\\certpush.log'"'
EOF
certpush check
wine net start certpush
until_ok "certpush status | grep -q \"^clamav *up\""
eicar >"$c/samples/eicar"
until_ok "verdicts | grep -q \"eicar.*malicious.*Lab.Eicar\""
echo harmless >"$c/samples/harmless"
until_ok "verdicts | grep -q \"harmless.*clean\""
'
step "a bad file is refused, the old one stays; then a good one" '
cp "$data/certpush.toml" "$work/good"
echo "stat = 1" >>"$data/certpush.toml"
code=0; certpush reload || code=$?; is $code 78
echo meanwhile >"$c/samples/meanwhile"
until_ok "verdicts | grep -q meanwhile"
cp "$work/good" "$data/certpush.toml"
echo "# An administrator was here." >>"$data/certpush.toml"
certpush reload
'
step "a stop gives back the sample in hand within seconds; the next start pushes it" '
echo before >"$c/samples/before"
until_ok "verdicts | grep -q \"before.*clean\"" # its first pings are over
until_ok "certpush status | grep -q \"^clamav *up\""
kill -STOP "$(cat "$work/clamd.pid")"
echo held >"$c/samples/held"
until_ok "certpush status --json | grep -q \"\\\"in_flight\\\": *1\""
begun=$EPOCHREALTIME
stop
# Two for the worker, four at most, and what Wine takes.
echo "after $(awk "BEGIN {print $EPOCHREALTIME - $begun}") s"
is "$(awk "BEGIN {print $EPOCHREALTIME - $begun < 7.5}")" 1
kill -CONT "$(cat "$work/clamd.pid")"
is "$(verdicts | grep -c held)" 0
wine net start certpush
until_ok "verdicts | grep -q \"held.*clean\""
'
step "samples wait" '
clamd_down
for i in $(seq 50); do echo "$i" >"$c/samples/waits-$i"; done
until_ok "[ \$(cat $data/journal/*.log* | grep -c waits-) -ge 50 ]"
is "$(verdicts | grep -c waits-)" 0
'
step "a power cut and a boot: they are judged" '
"$server" -k
until_ok ended
clamd_up
"$server" -p
wine wineboot
until_ok "[ \"\$(state)\" = RUNNING ]"
until_ok "[ \$(verdicts | grep -o \"waits-[0-9]*\" | sort -u | wc -l) = 50 ]"
is "$(verdicts | grep waits- | grep -vc "\"verdict\":\"clean\"")" 0
until_ok "certpush verify"
'
step "upgrade while it runs: the edited file and the state stay, and it runs on" '
edited=$(sha256sum <"$data/certpush.toml")
upgrade "$signed_msi"
is "$(certpush version | cut -d" " -f2)" "$new"
is "$(state)" RUNNING
is "$(sha256sum <"$data/certpush.toml")" "$edited"
is "$(wine reg query "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall" /s | grep -c "DisplayName *REG_SZ *certpush\$")" 1
before=$(verdicts | wc -l)
echo upgraded >"$c/samples/upgraded"
until_ok "verdicts | grep -q upgraded"
is "$(verdicts | wc -l)" $((before + 1))
'
step "uninstall takes service and program, and leaves configuration and state" '
edited=$(sha256sum <"$data/certpush.toml") before=$(verdicts | sha256sum)
stop
msi /x "$signed_msi"
not wine sc query certpush
[ ! -e "$c/Program Files/certpush" ]
not wine reg query "HKLM\\$services\\EventLog\\Application\\certpush"
not wine reg query "HKLM\\Software\\certpush"
not wine reg query "HKLM\\$services\\certpush"
value "SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment" PATH >"$work/path"
not grep -qF certpush "$work/path"
is "$(sha256sum <"$data/certpush.toml")" "$edited"
is "$(verdicts | sha256sum)" "$before"
'
step "START_SERVICE=0 starts nothing, CONFIGFILE= is remembered by an upgrade" '
mkdir -p "$c/lab files"
cp "$data/certpush.toml" "$c/lab files/my.toml"
code=0; msi /i "$old_msi" CONFIGFILE=my.toml || code=$?; is $code $((1603 % 256))
not wine sc query certpush
msi /i "$old_msi" START_SERVICE=0 "CONFIGFILE=C:\\lab files\\my.toml"
is "$(state)" STOPPED
value "$services\\certpush" ImagePath | grep -q "run -c \"C:.lab files.my.toml\"\$"
wine net start certpush
echo elsewhere >"$c/samples/elsewhere"
until_ok "verdicts | grep -q elsewhere"
stop
msi /i "$new_msi"
is "$(state)" RUNNING
value "$services\\certpush" ImagePath | grep -q "run -c \"C:.lab files.my.toml\"\$"
stop
msi /x "$new_msi"
not wine sc query certpush
'
step "what an administrator disabled stays so" '
msi /i "$old_msi" START_SERVICE=0
wine reg add "HKLM\\$services\\certpush" /v Start /t REG_DWORD /d 4 /f
msi /i "$new_msi"
is "$(certpush version | cut -d" " -f2)" "$new"
is "$(state)" STOPPED
is "$(value "$services\\certpush" Start)" 0x4
msi /x "$new_msi"
'
step "what was kept is taken up; an older one is refused, and the newer runs on" '
edited=$(sha256sum <"$data/certpush.toml")
msi /i "$new_msi"
is "$(state)" RUNNING
is "$(sha256sum <"$data/certpush.toml")" "$edited"
echo again >"$c/samples/again"
until_ok "verdicts | grep -q again"
code=0; msi /i "$old_msi" || code=$?; is $code $((1603 % 256))
is "$(state)" RUNNING
is "$(certpush version | cut -d" " -f2)" "$new"
stop
msi /x "$new_msi"
[ -s "$data/certpush.toml" ]
'
step "from the zip, by hand: install, start, stop, uninstall" '
mkdir -p "$c/Program Files/by hand"
unzip -q -j "$work/new/"*.zip "*/certpush.exe" -d "$c/Program Files/by hand"
byhand() { wine "C:\\Program Files\\by hand\\certpush.exe" service "$@"; }
is "$(byhand status)" "not installed"
code=0; byhand start || code=$?; not [ "$code" = 0 ]
edited=$(sha256sum <"$data/certpush.toml")
byhand install | grep -q "certpush service start"
is "$(sha256sum <"$data/certpush.toml")" "$edited"
value "$services\\certpush" ImagePath | grep -q "^\"C:.Program Files.by hand.certpush.exe\" run -c C:.ProgramData.certpush.certpush.toml\$"
is "$(value "$services\\certpush" ObjectName)" "NT SERVICE\\certpush"
value "$services\\EventLog\\Application\\certpush" EventMessageFile | grep -qi eventcreate
code=0; byhand install || code=$?; not [ "$code" = 0 ]
byhand start
is "$(byhand status)" running
echo byhand >"$c/samples/byhand"
until_ok "verdicts | grep -q byhand"
byhand restart
byhand configure
byhand stop
is "$(byhand status)" stopped
until_ok ended
byhand uninstall
is "$(byhand status)" "not installed"
is "$(sha256sum <"$data/certpush.toml")" "$edited"
not wine sc query certpush
'
echo "all of the MSI in $SECONDS s"
