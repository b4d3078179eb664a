#!/bin/sh
# run.sh PROGRAM [ARGUMENT]... runs a Windows program under Wine, in the prefix that
# WINEPREFIX names. `go test -exec` runs it; give it the absolute path of this script.
export WINEARCH=win64 DISPLAY= WINEDEBUG="${WINEDEBUG:--all}" WINEDLLOVERRIDES='mscoree,mshtml='
exec /usr/lib/wine/wine64 "$@"
