#!/bin/bash
# `make fuzz`: run the fuzz targets of tests/fuzz under libFuzzer, with a stable toolchain.
#
#     FUZZ_TARGET=NAME     only this one (all of them, one after the other)
#     FUZZ_RUNS=N          so many executions of each (10000000)
#     FUZZ_SECONDS=N       so long each, whatever the number
#
# What libFuzzer learns is kept in target/fuzz/corpus/NAME for the next run; an input that
# breaks a law goes to target/fuzz/findings. The last line is `N passed, N failed`.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

FUZZ=$ROOT/tests/fuzz
OUT=$TARGET/fuzz
RUNS=${FUZZ_RUNS:-10000000}
passed=0 failed=0

# The instrumentation that cargo-fuzz asks of a nightly compiler, in the form of LLVM passes,
# which a stable one knows too. With --target it is kept away from build scripts, which have
# no libFuzzer to report to. Without -Clink-dead-code, which cargo-fuzz adds, runs are three
# times as fast. Not --locked: the lock file of tests/fuzz follows Cargo.toml.
build() {
    local host flags=(
        --cfg fuzzing
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
    )
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="${flags[*]}" cargo build --release --manifest-path "$FUZZ/Cargo.toml" \
        --target "$host" --target-dir "$OUT/build"
    PROGRAM=$OUT/build/$host/release/gatepost-fuzz
}

# The names and keywords that the source knows, for libFuzzer to try: it does not see what
# strings are compared with.
words() {
    mkdir -p "$OUT"
    grep -rhoE '"[A-Za-z][A-Za-z0-9_.-]{2,40}"' "$ROOT/src" --include='*.rs' | sort -u >"$OUT/words"
}

# run NAME
run() {
    local limit=("-runs=$RUNS") log=$OUT/$1.log options
    [ -z "${FUZZ_SECONDS:-}" ] || limit=("-max_total_time=$FUZZ_SECONDS")
    options=(-max_len=2048 -timeout=20 -rss_limit_mb=2048 -dict="$OUT/words"
        -artifact_prefix="$OUT/findings/$1-" -print_final_stats=1
        # What is on the way is of no use.
        -verbosity=0 -print_funcs=0)
    say "== $1"
    mkdir -p "$OUT/corpus/$1" "$OUT/findings"
    if GATEPOST_FUZZ_TARGET=$1 "$PROGRAM" "${limit[@]}" "${options[@]}" \
        "$OUT/corpus/$1" "$FUZZ/corpus/$1" >"$log" 2>&1; then
        passed=$((passed + 1))
        sed -n 's/^stat::number_of_executed_units: */   executions: /p' "$log"
    else
        failed=$((failed + 1))
        tail -n 60 "$log"
        say "FAIL $1; once more: GATEPOST_FUZZ_TARGET=$1 $PROGRAM INPUT"
    fi
}

find_cargo
need_packages "${BUILD_THINGS[@]}" c++=g++
build
words
for directory in "$FUZZ"/corpus/*/; do
    name=$(basename "$directory")
    [ "${FUZZ_TARGET:-$name}" != "$name" ] || run "$name"
done
[ $((passed + failed)) -gt 0 ] || die "no such target: ${FUZZ_TARGET:-}"
say "$passed passed, $failed failed"
[ "$failed" = 0 ]
