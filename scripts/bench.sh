#!/bin/bash
# `make bench`: measure visits of clients at postscreen(8), at Gatepost, and at the floor.
#
#     bench.sh [OPTION...]
#
# The options are those of scripts/bench/options.py (--help lists them). It needs root, for
# Postfix instances in namespaces of their own.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

need_packages "${BUILD_THINGS[@]}" postconf=postfix python3=python3 ip=iproute2 \
    unshare=util-linux mount=mount strace=strace
build_release

# built NAME OPTION...: the file that cargo has made of a target, by cargo's own account.
built() {
    local file
    file=$(cd "$ROOT" && cargo "${@:2}" --locked --message-format=json |
        sed -nE "s/.*\"name\":\"$1\".*\"filenames\":\[\"([^\"]*)\".*/\1/p" | tail -n 1)
    [ -n "$file" ] || die "$1 was not built"
    printf '%s\n' "$file"
}

visits=$(built visits bench --no-run --bench visits)
dnsbl=$(built dnsbl bench --no-run --bench dnsbl)
slowsync=$(built slowsync build --release --example slowsync)

as_root env "PATH=$PATH" "PYTHONPATH=$ROOT/scripts:$ROOT/tests/conformance" \
    python3 -B -m bench --gatepost "$TARGET/release/gatepost" --visits "$visits" \
    --name-server "$dnsbl" --slowsync "$slowsync" "$@"
