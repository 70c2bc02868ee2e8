#!/bin/bash
# Remove the instance of `make run`, wherever it is.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

[ -e "$ROOT/run" ] || [ -L "$ROOT/run" ] || exit 0
place=$(readlink -f "$ROOT/run")
case $place in
    "$ROOT/run" | /var/tmp/gatepost-run.*) ;;
    *) die "./run leads to $place, which was not made by make run" ;;
esac
if [ -e "$place/spool/pid/master.pid" ] &&
    kill -0 "$(tr -d ' ' <"$place/spool/pid/master.pid")" 2>/dev/null; then
    die "the instance in ./run is running"
fi
as_root rm -rf "$place" "$ROOT/run"
