#!/bin/bash
# `make bench`: measure visits of clients at postscreen(8), at Gatepost, and at the floor.
#
#     bench.sh [OPTION...]
#
# The options are those of scripts/bench/options.py (--help lists them). It needs root, for
# Postfix instances in namespaces of their own.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

need_packages "${BUILD_THINGS[@]}" "${LOAD_THINGS[@]}"
build_release
build_stand_ins

as_root env "PATH=$PATH" "PYTHONPATH=$ROOT/scripts:$ROOT/tests/conformance" \
    python3 -B -m bench --gatepost "$TARGET/release/gatepost" "${STAND_INS[@]}" "$@"
