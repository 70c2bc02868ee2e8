#!/bin/bash
# `make fuzz`: run the fuzz targets of tests/fuzz under libFuzzer, with a stable toolchain.
#
#     FUZZ_TARGET=NAME     only this one (all of them, one after the other)
#     FUZZ_RUNS=N          so many executions of each (10000000)
#     FUZZ_SECONDS=N       so long each, whatever the number
#     FUZZ_JOBS=N          so many at a time (1)
#
# What libFuzzer learns is kept in target/fuzz/corpus/NAME for the next run; an input that
# breaks a law goes to target/fuzz/findings. At the end there is a table (docs/reliability.md
# has it from here), and the last line is `N passed, N failed`.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

FUZZ=$ROOT/tests/fuzz
OUT=$TARGET/fuzz
RUNS=${FUZZ_RUNS:-10000000}
JOBS=${FUZZ_JOBS:-1}
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
    grep -rhoE '"[A-Za-z][A-Za-z0-9_.-]{2,40}"' "$ROOT/src" --include='*.rs' | sort -u >"$OUT/words.$$"
    # In one step: another `make fuzz` may be reading it.
    mv "$OUT/words.$$" "$OUT/words"
}

# run NAME: in a lane, so what comes of it goes to a file.
run() {
    local limit=("-runs=$RUNS") log=$OUT/$1.log options status=0
    [ -z "${FUZZ_SECONDS:-}" ] || limit=("-max_total_time=$FUZZ_SECONDS")
    options=(-max_len=2048 -timeout=20 -rss_limit_mb=2048 -dict="$OUT/words"
        -artifact_prefix="$OUT/findings/$1-" -print_final_stats=1
        # What is on the way is of no use.
        -verbosity=0 -print_funcs=0)
    mkdir -p "$OUT/corpus/$1" "$OUT/findings"
    say "== $1"
    GATEPOST_FUZZ_TARGET=$1 "$PROGRAM" "${limit[@]}" "${options[@]}" \
        "$OUT/corpus/$1" "$FUZZ/corpus/$1" >"$log" 2>&1 || status=$?
    if [ "$status" != 0 ]; then
        tail -n 60 "$log"
        say "FAIL $1; once more: GATEPOST_FUZZ_TARGET=$1 $PROGRAM INPUT"
    fi
    say "$status" >"$RESULTS/$1"
}

# figure NAME KEY: a number of libFuzzer's.
figure() {
    sed -n "s/^stat::$2: *//p" "$OUT/$1.log"
}

# Files of a corpus, the committed ones included.
inputs() {
    find "$OUT/corpus/$1" "$FUZZ/corpus/$1" -type f | wc -l
}

findings() {
    find "$OUT/findings" -type f -name "$1-*" ! -name '*-slow-unit-*' -newer "$RESULTS/.begun" | wc -l
}

table() {
    local name
    printf '\n| target | executions | per second | corpus | findings |\n|---|---:|---:|---:|---:|\n'
    for name; do
        printf '| `%s` | %s | %s | %s | %s |\n' "$name" "$(figure "$name" number_of_executed_units)" \
            "$(figure "$name" average_exec_per_sec)" "$(inputs "$name")" "$(findings "$name")"
    done
    printf '\n'
}

find_cargo
need_packages "${BUILD_THINGS[@]}" c++=g++
build
words
names=()
for directory in "$FUZZ"/corpus/*/; do
    name=$(basename "$directory")
    [ "${FUZZ_TARGET:-$name}" != "$name" ] || names+=("$name")
done
[ ${#names[@]} -gt 0 ] || die "no such target: ${FUZZ_TARGET:-}"
RESULTS=$(mktemp -d)
trap 'rm -rf "$RESULTS"' EXIT
touch -d '-1 second' "$RESULTS/.begun"
for name in "${names[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n || true; done
    run "$name" &
done
wait
for name in "${names[@]}"; do
    if [ "$(cat "$RESULTS/$name" 2>/dev/null)" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
table "${names[@]}"
say "$passed passed, $failed failed"
[ "$failed" = 0 ]
