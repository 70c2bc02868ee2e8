# shellcheck shell=bash
# Shared by the scripts in this directory: finding programs, installing Debian packages
# without side effects, building.

set -euo pipefail

# Postfix's programs are in sbin, which a user's PATH lacks on Debian.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # the scripts that read this file use it
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Run a command as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed for: $*; become root or install sudo"
    fi
}

can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

# Is the thing there? A name with a slash is a file, another one a program.
present() {
    case $1 in
        */*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# need_packages THING=PACKAGE...: install the packages of the things that are missing.
need_packages() {
    local pair missing=()
    for pair; do
        present "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Missing Debian packages: ${missing[*]}"
    command -v dpkg-query >/dev/null ||
        die "this is not a Debian system: please install the like of: ${missing[*]}"
    case " ${missing[*]} " in
        *' postfix '*) refuse_other_mail_server ;;
    esac
    say "Installing them; no service is started."
    as_root "$ROOT/scripts/install-packages.sh" "${missing[@]}"
    for pair; do
        present "${pair%%=*}" || die "${pair#*=} is installed, but ${pair%%=*} is not there"
    done
}

# Installing Postfix would remove another mail server, or mix with what one left behind.
refuse_other_mail_server() {
    local others
    # shellcheck disable=SC2016  # the ${} are dpkg-query's
    others=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Provides}\n' |
        awk '$1 ~ /^.[^nc]/ && $2 != "postfix" && / mail-transport-agent/ { print $2 }')
    [ -z "$others" ] ||
        die "another mail server is installed (${others//$'\n'/ }); Postfix would replace it." \
            "Please use a machine without one, or replace it yourself."
    [ -z "$(ls -A /etc/postfix 2>/dev/null)" ] ||
        die "/etc/postfix exists, but Postfix is not installed; installing it might change" \
            "what is there. Please move the directory away, or install Postfix yourself."
}

# cargo, which rustup puts where only its user's login shell looks.
find_cargo() {
    local home
    command -v cargo >/dev/null && return
    for home in "$HOME" "$(getent passwd "${SUDO_USER:-}" | cut -d: -f6)"; do
        if [ -n "$home" ] && [ -x "$home/.cargo/bin/cargo" ]; then
            export CARGO_HOME=$home/.cargo RUSTUP_HOME=$home/.rustup
            PATH=$PATH:$CARGO_HOME/bin
            return
        fi
    done
    die "cargo is not there; the Rust toolchain comes from https://rustup.rs"
}

# What the build needs, in the form of need_packages.
# shellcheck disable=SC2034
BUILD_THINGS=(cc=gcc /usr/include/stdio.h=libc6-dev
    /etc/ssl/certs/ca-certificates.crt=ca-certificates)

build_release() {
    find_cargo
    (cd "$ROOT" && cargo build --release --locked)
}

# built NAME OPTION...: the file that cargo has made of a target, by cargo's own account.
built() {
    local file
    file=$(cd "$ROOT" && cargo "${@:2}" --locked --message-format=json |
        sed -nE "s/.*\"name\":\"$1\".*\"filenames\":\[\"([^\"]*)\".*/\1/p" | tail -n 1)
    [ -n "$file" ] || die "$1 was not built"
    printf '%s\n' "$file"
}

# What plays clients and neighbours in benches and trials; the options that name it are in
# STAND_INS afterwards.
build_stand_ins() {
    local visits name_server slowsync setclock
    visits=$(built visits bench --no-run --bench visits) &&
        name_server=$(built dnsbl bench --no-run --bench dnsbl) &&
        slowsync=$(built slowsync build --release --example slowsync) &&
        setclock=$(built setclock build --release --example setclock) || return
    # shellcheck disable=SC2034
    STAND_INS=(--visits "$visits" --name-server "$name_server" --slowsync "$slowsync"
        --setclock "$setclock")
}

# What instances under load need, in the form of need_packages.
# shellcheck disable=SC2034
LOAD_THINGS=(postconf=postfix python3=python3 ip=iproute2 unshare=util-linux mount=mount
    openssl=openssl strace=strace)

# A parameter of the installed Postfix, which need not be configured yet.
postfix_parameter() {
    if [ -e "$(postconf -dh config_directory)/main.cf" ]; then
        postconf -h "$1"
    else
        postconf -dh "$1"
    fi 2>/dev/null
}
