#!/bin/bash
# `make run`: build Gatepost and run it in a private Postfix instance below ./run.
#
# The machine's own Postfix, /etc/postfix and the mail queue are not touched. Ctrl-C, or
# SIGTERM or SIGINT, stops the instance.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

need_packages postconf=postfix swaks=swaks runuser=util-linux tail=coreutils \
    "${BUILD_THINGS[@]}"
build_release

# The instance ends when this process's parent, which is make, ends or is told to. A shell
# that starts `make run` in the background may have told it to ignore SIGINT: undo that.
export GATEPOST_RUN_PARENT=$PPID
command=(env "--default-signal=HUP,INT,TERM" "$ROOT/scripts/instance.sh" "$TARGET/release/gatepost")
if [ "$(id -u)" = 0 ]; then
    exec "${command[@]}"
fi
exec sudo --preserve-env=GATEPOST_RUN_PARENT "${command[@]}"
