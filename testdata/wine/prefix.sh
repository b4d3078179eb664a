#!/bin/sh
# prefix.sh DIR makes a Wine prefix in DIR, in which Go programs and services run.
set -eu
here=$(dirname "$(realpath "$0")")
WINEPREFIX=$(realpath -m "$1")
export WINEPREFIX WINEARCH=win64 DISPLAY= WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
wine=/usr/lib/wine/wine64
server=/usr/lib/wine/wineserver64
dll=$(mktemp)
trap 'rm -f "$dll"' EXIT
x86_64-w64-mingw32-gcc -shared -nostdlib -Os -s -Wall -Werror -Wl,--no-insert-timestamp -o "$dll" "$here/shim.c" -lkernel32 -ladvapi32

# The output of Wine is never a pipe here: its services would inherit the pipe, and the
# reader would wait for its end for ever.
quiet() { "$@" </dev/null >/dev/null 2>&1; }

quiet $wine wineboot -i
install -m644 "$dll" "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
quiet $wine winecfg -v win10
# This value keeps the key. An uninstall removes an empty key, and then no service can be
# installed any more.
quiet $wine reg add 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application' /v MaxSize /t REG_DWORD /d 1 /f
# The server must write the registry and end before it is started to stay. Otherwise two
# service managers run side by side.
$server -w
# The server stays, because a start of it takes three seconds for each program.
$server -p
quiet $wine wineboot
