#!/bin/bash
# `make bench-dnsbl`: measure look-ups of DNS blocklists, Gatepost's beside dnsblog(8)'s.
#
#     bench-dnsbl.sh [OPTION...]
#
# The options are those of benches/dnsbl/options.rs. The half of dnsblog(8) needs root, for a
# Postfix instance in namespaces of its own; without root the other half is measured.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

find_cargo
cd "$ROOT"
program=$(cargo bench --locked --bench dnsbl --no-run --message-format=json |
    sed -n 's/.*"name":"dnsbl".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || die "the bench was not built"

if can_be_root; then
    need_packages postconf=postfix python3=python3 ip=iproute2 unshare=util-linux mount=mount
    as_root env "PATH=$PATH" python3 -B scripts/bench-dnsbl.py "$program" "$@"
else
    say 'Without root there is no Postfix instance: only the resolver is measured.'
    exec "$program" --bench "$@"
fi
