#!/bin/sh
# run.sh PROGRAM [ARGUMENT]... runs a Windows program under Wine, in the prefix that
# WINEPREFIX names. `go test -exec` runs it; give it the absolute path of this script.
# The server of Wine runs already (prefix.sh). Where Wine loses a program that a test
# starts ("Internal error"), that program is started again: shim.c says why.
export WINEARCH=win64 DISPLAY= WINEDEBUG="${WINEDEBUG:--all}" WINEDLLOVERRIDES='mscoree,mshtml='
exec /usr/lib/wine/wine64 "$@"
