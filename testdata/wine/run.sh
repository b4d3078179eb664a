#!/bin/sh
# run.sh PROGRAM [ARGUMENT]...: runs a Windows program under Wine, in the prefix
# that WINEPREFIX names. For `go test -exec`, which wants it as an absolute path.
export WINEARCH=win64 DISPLAY= WINEDEBUG="${WINEDEBUG:--all}" WINEDLLOVERRIDES='mscoree,mshtml='
exec /usr/lib/wine/wine64 "$@"
