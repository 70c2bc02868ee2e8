#!/bin/bash
# `make test`: install what the tests need, run them, and add up.
#
#     test.sh [lint] [unit] [man] [conformance] [logtools] [selftest] [torture]
#
# All of them by default. The last line is `N passed, N failed`, with `, N skipped` if
# some were; the exit status is 1 if any failed or none passed. With CI=true nothing may
# be missing: what would be skipped elsewhere for want of a program or of root fails.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

passed=0 failed=0 skipped=0
CI=${CI:-false}
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

heading() { printf '\n== %s\n' "$*"; }

# One thing that works or does not, as one test.
check() {
    local what=$1
    shift
    heading "$what"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "FAIL $what"
    fi
}

missing() {
    if [ "$CI" = true ]; then
        failed=$((failed + 1))
        say "FAIL $*"
    else
        skipped=$((skipped + 1))
        say "skip $*"
    fi
}

lint() {
    check 'format' cargo fmt --check
    check 'format of the fuzzer' cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
    check 'clippy' cargo clippy --locked --all-targets -- -D warnings
}

# The development profile: its assertions and overflow checks are part of the tests.
unit() {
    heading 'unit, simulation and stub-master tests'
    local status=0 sums
    cargo test --locked --no-fail-fast 2>&1 | tee "$LOG" || status=$?
    sums=$(awk '/^test result: / { p += $4; f += $6; s += $8 } END { print p + 0, f + 0, s + 0 }' \
        "$LOG")
    # shellcheck disable=SC2086  # three numbers
    set -- $sums
    if [ "$status" != 0 ] && [ "$2" = 0 ]; then
        say 'FAIL cargo test'
        set -- "$1" 1 "$3"
    fi
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

man() {
    check 'manual pages' mandoc -T lint -W warning "$ROOT"/man/gatepost.[58]
}

# run_harness COMMAND...: a program whose last line is `N passed, N failed[, N skipped]`.
run_harness() {
    local status=0 sums
    if ! can_be_root; then
        missing "$* needs root"
        return
    fi
    as_root env "PATH=$PATH" "$@" 2>&1 | tee "$LOG" || status=$?
    sums=$(tail -n 1 "$LOG" |
        sed -nE 's/^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\1 \2 \4/p')
    if [ -z "$sums" ]; then
        say "FAIL $1 ended with status $status and without totals"
        sums='0 1 0'
    fi
    # shellcheck disable=SC2086  # numbers
    set -- $sums
    if [ "$status" != 0 ] && [ "$2" = 0 ]; then
        set -- "$1" 1 "${3:-0}"
    fi
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
}

conformance() {
    heading 'conformance with postscreen(8)'
    if ! build_release; then
        failed=$((failed + 1))
        say 'FAIL release build'
        return
    fi
    local options=()
    [ "$CI" != true ] || options=(--complete)
    run_harness "$ROOT/tests/conformance/run" --candidate "$TARGET/release/gatepost" \
        --known "$ROOT/tests/conformance/known" "${options[@]}"
}

# pygrok, in a directory of its own. Versions are named, so that a run means the same tomorrow.
GROK=$TARGET/logtools
make_grok() {
    "$GROK/bin/python" -c 'import pygrok, regex' 2>/dev/null && return
    rm -rf "$GROK"
    python3 -m venv "$GROK" &&
        "$GROK/bin/python" -m pip install -q --disable-pip-version-check --no-input \
            pygrok==1.0.0 regex==2024.11.6
}

logtools() {
    heading 'what log readers see of postscreen(8) and of Gatepost'
    if ! build_release; then
        failed=$((failed + 1))
        say 'FAIL release build'
        return
    fi
    if ! make_grok; then
        missing 'logtools needs pygrok from PyPI'
        return
    fi
    run_harness "$ROOT/tests/conformance/logtools" --candidate "$TARGET/release/gatepost" \
        --python "$GROK/bin/python"
}

selftest() {
    heading 'the conformance harness itself'
    if ! build_release; then
        failed=$((failed + 1))
        say 'FAIL release build'
        return
    fi
    run_harness "$ROOT/tests/conformance/selftest" --candidate "$TARGET/release/gatepost"
}

torture() {
    heading 'load and faults, the short forms'
    if ! { build_release && build_stand_ins; }; then
        failed=$((failed + 1))
        say 'FAIL release build'
        return
    fi
    run_harness "$ROOT/tests/torture/run" --short --jobs 4 --gatepost "$TARGET/release/gatepost" \
        "${STAND_INS[@]}"
}

[ $# -gt 0 ] || set -- lint unit man conformance logtools selftest torture
find_cargo
# The plug-ins of Postfix for table types that ours are compared with.
TABLE_TYPES=()
for type in pcre cdb lmdb sqlite; do
    TABLE_TYPES+=("/usr/lib/postfix/postfix-$type.so=postfix-$type")
done
things=("${BUILD_THINGS[@]}" postconf=postfix)
for part; do
    case $part in
        lint) ;;
        unit) things+=("${TABLE_TYPES[@]}" ip=iproute2 unshare=util-linux) ;;
        man) things+=(mandoc=mandoc) ;;
        conformance | selftest)
            things+=(python3=python3 ip=iproute2 unshare=util-linux mount=mount openssl=openssl
                sqlite3=sqlite3 pgrep=procps ps=procps rbldnsd=rbldnsd haproxy=haproxy
                "${TABLE_TYPES[@]}")
            ;;
        logtools)
            things+=(python3=python3 ip=iproute2 unshare=util-linux mount=mount openssl=openssl
                pgrep=procps ps=procps pflogsumm=pflogsumm logwatch=logwatch
                fail2ban-regex=fail2ban)
            ;;
        torture) things+=("${LOAD_THINGS[@]}") ;;
        *) die "no such part: $part" ;;
    esac
done
need_packages "${things[@]}"
case " $* " in
    *' logtools '*)
        # Debian's python3 comes without venv; where the module would be, python3 knows.
        need_packages "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'\
)/ensurepip/__init__.py=python3-venv"
        ;;
esac
cd "$ROOT"
for part; do
    "$part"
done

heading 'totals'
if [ "$skipped" -gt 0 ]; then
    say "$passed passed, $failed failed, $skipped skipped"
else
    say "$passed passed, $failed failed"
fi
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
