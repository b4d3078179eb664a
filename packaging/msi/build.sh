#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh VERSION TO makes for 64-bit Windows TO/certpush-VERSION-x64.msi,
# TO/certpush-VERSION-windows-amd64.zip and TO/certpush-windows-amd64.exe. SIGN_CERT and
# SIGN_KEY (PEM files) sign program and MSI; SIGN_TIMESTAMP names a server that
# countersigns. All else that goes in is in the tree and in SOURCE_DATE_EPOCH: two
# builds are the same to the byte, without a countersignature.
set -euo pipefail
full=${1#v}
mkdir -p "$2"
to=$(realpath "$2")
: "${SOURCE_DATE_EPOCH:?set it, as make does}"
export TZ=UTC LC_ALL=C
here=$(dirname "$(realpath "$0")")
top=$here/../..
go=${GO:-go}
cd "$top"
stage=$(mktemp -d)
# The linker takes the resources from beside the sources, and for no other system.
resources=$PWD/certpush_windows_amd64.syso
trap 'rm -rf "$stage" "$resources"' EXIT

# version splits VERSION for Windows, which compares numbers alone: 1.2.3-rc.1 and
# 1.2.3 are both the product 1.2.3, and each replaces the other. The program's
# file has a fourth number, by which candidates come before their release, and
# builds after a release after it.
if [[ ! $full =~ ^([0-9]+)\.([0-9]+)\.([0-9]+)(-[a-z]+\.?([0-9]*))?(\+([0-9]+)\.g[0-9a-f]+)?$ ]]; then
	echo "build.sh: $full is not a version: give one as 1.2.3 or 1.2.3-rc.1" >&2
	exit 64
fi
numbers=${BASH_REMATCH[1]}.${BASH_REMATCH[2]}.${BASH_REMATCH[3]}
after=$((10#${BASH_REMATCH[7]:-0}))
if [ -n "${BASH_REMATCH[4]}" ]; then
	fourth=$((10#${BASH_REMATCH[5]:-0} % 128 * 256 + (after < 255 ? after : 255)))
else
	fourth=$((32768 + (after < 32767 ? after : 32767)))
fi
if ((10#${BASH_REMATCH[1]} > 255 || 10#${BASH_REMATCH[2]} > 255 || 10#${BASH_REMATCH[3]} > 65535)); then
	echo "build.sh: Windows Installer counts to 255.255.65535, and this is $numbers: give a smaller version" >&2
	exit 64
fi
[ "$numbers" = "$full" ] || echo "version $full is $numbers for Windows Installer, and $numbers.$fourth in the program's file"

# sign WHAT [FLAG]... signs a file in place, where a certificate is given.
sign() {
	[ -n "${SIGN_CERT:-}" ] || return 0
	local what=$1 when=(-time "$SOURCE_DATE_EPOCH")
	shift
	[ -z "${SIGN_TIMESTAMP:-}" ] || when=(-ts "$SIGN_TIMESTAMP")
	osslsigncode sign -certs "$SIGN_CERT" -key "${SIGN_KEY:?names the key of SIGN_CERT}" -h sha256 -n certpush "${when[@]}" "$@" -in "$what" -out "$what.signed" >/dev/null
	mv "$what.signed" "$what"
}

$go tool -modfile=tools/go.mod go-winres make --arch amd64 --no-suffix --in "$here/winres.json" \
	--file-version "$numbers.$fourth" --product-version "$full" --out "$resources"
GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$full" -o "$stage/certpush.exe" .
rm "$resources"
sign "$stage/certpush.exe"
cp "$stage/certpush.exe" "$to/certpush-windows-amd64.exe"

# Every editor of Windows reads these.
windows_text() { sed 's/$/\r/'; }
windows_text <"$here/certpush.toml" >"$stage/certpush.toml"
windows_text <LICENSE >"$stage/LICENSE.txt"
sh packaging/licences.sh | windows_text >"$stage/third-party-licenses.txt"

# The zip, for those who want no installer.
folder=certpush-$full
mkdir -p "$stage/zip/$folder/docs/decisions"
cp "$stage"/{certpush.exe,certpush.toml,LICENSE.txt,third-party-licenses.txt} ./*.md "$stage/zip/$folder/"
cp docs/*.md "$stage/zip/$folder/docs/"
cp docs/decisions/*.md "$stage/zip/$folder/docs/decisions/"
chmod -R u=rwX,go=rX "$stage/zip"
find "$stage/zip" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
zip=$to/certpush-$full-windows-amd64.zip
rm -f "$zip"
(cd "$stage/zip" && find . -type f | sort | sed 's|^\./||' | zip -9 -X -q "$zip" -@)

# guid WHAT: the same for the same.
guid() { printf '%s' "certpush $1" | sha256sum | tr a-f A-F | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-5\3-8\4-\5/'; }

# The identity of the virtual account NT SERVICE\NAME, which is there on no machine
# before the service is: SHA-1 of the name in capitals, in five numbers.
service_sid() {
	printf '%s' "${1^^}" | iconv -t UTF-16LE | sha1sum | cut -d' ' -f1 | tr a-f A-F |
		sed -E 's/(..)(..)(..)(..)/\4\3\2\1 /g' | { read -ra n; printf 'S-1-5-80-%d-%d-%d-%d-%d\n' "${n[@]/#/0x}"; }
}

cp "$here"/certpush.{wxs,ico} "$stage/"
cd "$stage"
contents=$(sha256sum certpush.{exe,toml,wxs,ico} ./*.txt "$here/build.sh" | sed 's|  .*/|  |' | sha256sum)
chmod 644 ./*.* && chmod 755 certpush.exe
touch -d "@$SOURCE_DATE_EPOCH" ./*
msi=$to/certpush-$full-x64.msi
rm -f "$msi"
# Fatal warnings: wixl drops what it does not know, and says so in a warning.
G_DEBUG=fatal-warnings wixl -a x64 -D Version="$numbers" -D FullVersion="$full" -D ProductCode="$(guid "product $full $contents")" -o "$msi" certpush.wxs

# What wixl cannot say.
mend=(
	# 256 64-bit, 128 never overwrite, 16 permanent: what an administrator wrote is
	# kept over upgrades and an uninstall, and so is the state.
	"UPDATE Component SET Attributes = 400 WHERE Component = 'cmpConfig'"
	"UPDATE Component SET Attributes = 272 WHERE Component = 'cmpState'"
	# Without its version no newer program would replace an older one. A file has a
	# version or a hash.
	"UPDATE File SET Version = '$numbers.$fourth', Language = '1033' WHERE File = 'filProgram'"
	"DELETE FROM MsiFileHash WHERE File_ = 'filProgram'"
	"UPDATE File SET FileName = 'CERTPUSH.TOM|certpush.toml' WHERE File = 'filConfig'"
	"UPDATE File SET FileName = 'THIRDP~1.TXT|third-party-licenses.txt' WHERE File = 'filLicences'"
	# The message file of Windows' own eventcreate, which shows our text as it is.
	"UPDATE Registry SET Value = '#%%SystemRoot%\\System32\\EventCreate.exe' WHERE Registry = 'regEventFile'"
	# 2 a value, 16 in the 64-bit registry.
	"UPDATE RegLocator SET Type = 18"
	# CONFIGFILE: as given, else as remembered, else the default. 51 sets a property.
	"INSERT INTO CustomAction (Action, Type, Source, Target) VALUES ('ConfigFileRemembered', 51, 'CONFIGFILE', '[REMEMBERED]')"
	"INSERT INTO CustomAction (Action, Type, Source, Target) VALUES ('ConfigFileDefault', 51, 'CONFIGFILE', '[CommonAppDataFolder]certpush\\certpush.toml')"
	"INSERT INTO InstallExecuteSequence (Action, Condition, Sequence) VALUES ('ConfigFileRemembered', 'REMEMBERED AND NOT CONFIGFILE', 110)"
	"INSERT INTO InstallExecuteSequence (Action, Condition, Sequence) VALUES ('ConfigFileDefault', 'NOT CONFIGFILE', 120)"
	# What may be given on the command line reaches the installer's own process.
	"UPDATE Property SET Value = 'BEGINS;CONFIGFILE;NEWER;OLDER;REMEMBERED;START_SERVICE;WINDOWS10' WHERE Property = 'SecureCustomProperties'"
	# A service that is there with the same command line is left as it is: its
	# account, its start and what it depends on may be an administrator's choice. What
	# he disabled is not started.
	"UPDATE InstallExecuteSequence SET Condition = 'NOT BEGINS OR CONFIGFILE<>REMEMBERED' WHERE Action = 'InstallServices'"
	"UPDATE InstallExecuteSequence SET Condition = 'START_SERVICE<>\"0\" AND BEGINS<>\"#4\"' WHERE Action = 'StartServices'"
	# 1 normal, 32768: without the service there is no installation.
	"UPDATE ServiceInstall SET ErrorControl = 32769"
	# Not in a repair, which a user without rights may ask for: a program that the
	# installer starts then is a way to its rights. (Whatever wixl is asked to put in
	# between comes in another order each time.)
	"INSERT INTO InstallExecuteSequence (Action, Condition, Sequence) VALUES ('Configure', 'NOT Installed', 5850)"
	# The new one goes over the old one, whose files are counted then as still in use:
	# the service is never deleted and made again, which fails while any console
	# shows it. All in one transaction.
	# 256 and 512: from and up to, both included.
	"DELETE FROM Upgrade WHERE ActionProperty = 'OLDER'"
	"INSERT INTO Upgrade (UpgradeCode, VersionMin, VersionMax, Attributes, ActionProperty) VALUES ('{0FC6A5C0-7D1B-4B0E-9A5D-6C0C8B0B6D10}', '0.0.0', '$numbers', 768, 'OLDER')"
	"INSERT INTO InstallExecuteSequence (Action, Sequence) VALUES ('InstallExecute', 6500)"
	"INSERT INTO InstallExecuteSequence (Action, Sequence) VALUES ('RemoveExistingProducts', 6550)"
	"INSERT INTO InstallExecuteSequence (Action, Sequence) VALUES ('RemoveEnvironmentStrings', 3300)"
	"INSERT INTO InstallExecuteSequence (Action, Sequence) VALUES ('WriteEnvironmentStrings', 5200)"
)
flags=()
for sql in "${mend[@]}"; do flags+=(-q "$sql"); done

# table NAME COLUMNS TYPES ROW... writes a table for msibuild; fields are divided by |.
table() {
	local name=$1
	shift
	printf '%s\r\n' "$1" "$2" "$name|${1%%|*}" "${@:3}" | tr '|' '\t' >"$name.idt"
	flags+=(-i "$name.idt")
}
# In PATH: = set at install, - taken out at uninstall, * for all users.
table Environment 'Environment|Name|Value|Component_' 's72|l255|L255|s72' 'envPath|=-*PATH|[~];[INSTALLDIR]|cmpProgram'
# The same rights as `certpush service configure` gives, before anything lies in the
# folder, which every user may have made before: its owner is taken from him (O),
# and nothing is inherited from above (P). In an upgrade they are there.
sid=$(service_sid certpush)
table MsiLockPermissionsEx 'MsiLockPermissionsEx|LockObject|Table|SDDLText|Condition' 's72|s72|s32|s0|S255' \
	"lckData|DATADIR|CreateFolder|O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;0x1201bf;;;$sid)(A;OICIIO;0x1301bf;;;$sid)|NOT OLDER" \
	"lckConfig|filConfig|File|O:BAD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;$sid)|NOT OLDER"
msibuild "$msi" "${flags[@]}"

# 9 the package's own code, 12 and 13 when it was made and saved.
made=$(date -u -d "@$SOURCE_DATE_EPOCH" '+%Y/%m/%d %H:%M:%S')
msiinfo export "$msi" _SummaryInformation | tr -d '\r' |
	awk -F'\t' -v OFS='\t' -v made="$made" -v code="{$(guid "package $full $contents")}" '$1 == 9 {$2 = code} $1 == 12 || $1 == 13 {$2 = made} {printf "%s\r\n", $0}' >_SummaryInformation.idt
msibuild "$msi" -i _SummaryInformation.idt
sign "$msi" -add-msi-dse
if [ -n "${SIGN_CERT:-}" ]; then
	echo "signed: $msi"
else
	echo "not signed: $msi; SIGN_CERT and SIGN_KEY name a certificate and its key"
fi
