#!/bin/bash
# `make torture`: load and faults that must not hurt.
#
#     torture.sh [OPTION...]
#
# First the long forms of tests that need nothing but cargo (`alone` below); then the trials under
# a real master(8), whose options are those of tests/torture/run (--help lists them; with one of
# them, the others are left out). These need root, for Postfix instances in namespaces of their
# own. The last line is `N passed, N failed`.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

passed=0 failed=0

# alone NAME COMMAND...
alone() {
    local name=$1
    shift
    say "== $name"
    if (cd "$ROOT" && "$@"); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "FAIL $name"
    fi
}

need_packages "${BUILD_THINGS[@]}" "${LOAD_THINGS[@]}" rsyslogd=rsyslog \
    /usr/lib/postfix/postfix-lmdb.so=postfix-lmdb
find_cargo
if [ $# = 0 ]; then
    alone 'simulation: a million clients' \
        cargo test --locked --test simulation million -- --ignored --nocapture
    alone 'damaged LMDB databases' \
        env GATEPOST_LMDB_DAMAGES=100000 cargo test --locked --test lmdb_damage
    alone 'a worker that is never ready' \
        cargo test --locked --test stub_master never_ready -- --ignored
fi
build_release
build_stand_ins

LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT
status=0
as_root env "PATH=$PATH" ${TORTURE_SOAK:+"TORTURE_SOAK=$TORTURE_SOAK"} \
    ${TORTURE_SEED:+"TORTURE_SEED=$TORTURE_SEED"} "$ROOT/tests/torture/run" --gatepost "$TARGET/release/gatepost" \
    "${STAND_INS[@]}" "$@" 2>&1 | tee "$LOG" || status=$?
sums=$(tail -n 1 "$LOG" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p')
# shellcheck disable=SC2086  # numbers
set -- ${sums:-0 $((status != 0))}
say "$((passed + $1)) passed, $((failed + $2)) failed"
[ "$status" = 0 ] && [ "$failed" = 0 ]
