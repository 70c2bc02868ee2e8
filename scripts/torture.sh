#!/bin/bash
# `make torture`: load and faults that must not hurt, under a real master(8).
#
#     torture.sh [OPTION...]
#
# The options are those of tests/torture/run (--help lists them). It needs root, for Postfix
# instances in namespaces of their own. The last line is `N passed, N failed`.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

need_packages "${BUILD_THINGS[@]}" "${LOAD_THINGS[@]}"
build_release
build_stand_ins

as_root env "PATH=$PATH" "$ROOT/tests/torture/run" --gatepost "$TARGET/release/gatepost" \
    "${STAND_INS[@]}" "$@"
