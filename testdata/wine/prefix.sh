#!/bin/sh
# prefix.sh DIR: makes a Wine prefix in which Go programs and services run.
set -eu
here=$(dirname "$(realpath "$0")")
WINEPREFIX=$(realpath -m "$1")
export WINEPREFIX WINEARCH=win64 DISPLAY= WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
wine=/usr/lib/wine/wine64
server=/usr/lib/wine/wineserver64
dll=$(mktemp)
trap 'rm -f "$dll"' EXIT
x86_64-w64-mingw32-gcc -shared -nostdlib -Os -s -Wall -Werror -Wl,--no-insert-timestamp -o "$dll" "$here/shim.c" -lkernel32 -ladvapi32

# Wine never gets a pipe as its output here: its services would inherit it, and
# who reads it never sees its end.
quiet() { "$@" </dev/null >/dev/null 2>&1; }

quiet $wine wineboot -i
install -m644 "$dll" "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
quiet $wine winecfg -v win10
# An uninstall takes the key away if nothing else is in it, and then no service
# can be installed any more.
quiet $wine reg add 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application' /v MaxSize /t REG_DWORD /d 1 /f
# Written down and ended before the server is told to stay, or two service
# managers run side by side.
$server -w
# It stays: a start of it for each program takes three seconds.
$server -p
quiet $wine wineboot
