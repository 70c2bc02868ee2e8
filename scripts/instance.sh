#!/bin/bash
# Set up a private Postfix instance with a given program in postscreen's place, start it,
# and follow its log until told to stop. Run by run-demo.sh, as root.
#
#     instance.sh PROGRAM
#
# Everything is below ./run:
#     etc      config_directory: main.cf and master.cf, made from the example files
#     spool    queue_directory
#     data     data_directory, with the verdict cache, which is kept between runs
#     daemons  daemon_directory: copies of the installed daemons, and the program.
#              master(8) prepends daemon_directory to every command in master.cf, so a
#              program that is not installed needs a directory like this. Copies, because
#              `postfix check` complains of links that lead out of the directory.
#     log      maillog_file

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

PROGRAM=$1
PORT=${GATEPOST_RUN_PORT:-2525}
OWNER=$(postfix_parameter mail_owner)
FOLLOWER=

# Daemons that run as mail_owner must be able to reach the instance. A checkout below
# /root, say, does not let them in; then the instance is elsewhere and ./run a link to it.
choose_directory() {
    local place=$ROOT/run
    if [ -L "$place" ] && [ ! -d "$place" ]; then
        rm "$place"
    fi
    mkdir -p "$place"
    DIR=$(readlink -f "$place")
    if ! runuser -u "$OWNER" -- test -x "$DIR"; then
        rmdir "$place" ||
            die "user $OWNER cannot enter $DIR, and it is not empty; 'make clean' removes it"
        DIR=$(mktemp -d /var/tmp/gatepost-run.XXXXXX)
        ln -s "$DIR" "$place"
        say "User $OWNER cannot enter $ROOT: the instance is in $DIR, and ./run is a link to it."
    fi
    chmod 755 "$DIR"
}

copy_daemons() {
    local installed
    installed=$(postfix_parameter daemon_directory)
    rm -rf "$DIR/daemons"
    install -d -m 755 -o root -g root "$DIR/daemons"
    find "$installed" -maxdepth 1 -type f -exec \
        install -m 755 -o root -g root -t "$DIR/daemons" {} +
    install -m 755 -o root -g root "$PROGRAM" "$DIR/daemons/gatepost"
}

write_configuration() {
    sed "s/^smtp\( *inet \)/127.0.0.1:$PORT\1/" "$ROOT/master.cf.example" >"$DIR/etc/master.cf"
    # No client is a friend here, so that 127.0.0.1 meets the tests; mail for example.test
    # is queued, and thrown away at its delivery.
    cat "$ROOT/main.cf.example" - >"$DIR/etc/main.cf" <<END

# What this instance needs; written by scripts/instance.sh.
compatibility_level = 3.6
queue_directory = $DIR/spool
data_directory = $DIR/data
daemon_directory = $DIR/daemons
maillog_file = $DIR/log/maillog
maillog_file_prefixes = $DIR
myhostname = mx.example.test
mydestination = example.test
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
local_transport = discard:the demonstration throws mail away
default_transport = discard:the demonstration throws mail away
smtpd_relay_restrictions = reject_unauth_destination
smtp_tls_security_level = none
END
    [ -e "$DIR/etc/postscreen_access.cidr" ] ||
        printf '%s\n' '# 127.0.0.9 reject' >"$DIR/etc/postscreen_access.cidr"
    for name in dynamicmaps.cf postfix-files; do
        [ ! -e "/etc/postfix/$name" ] || cp "/etc/postfix/$name" "$DIR/etc/"
    done
    # What the C library wants inside the jail of a chrooted daemon.
    install -d -m 755 "$DIR/spool/etc"
    for name in hosts localtime nsswitch.conf resolv.conf services; do
        [ ! -e "/etc/$name" ] || cp -L "/etc/$name" "$DIR/spool/etc/"
    done
    # master(8) waits when a file of its configuration was written within the last second.
    touch -d '10 seconds ago' "$DIR"/etc/*
}

# The processes that run a program of this instance: its daemons are copies.
instance_processes() {
    find /proc -maxdepth 2 -name exe -path '/proc/[0-9]*' -printf '%l %h\n' 2>/dev/null |
        awk -v place="$DIR/daemons/" 'index($1, place) == 1 { sub(".*/", "", $NF); print $NF }'
}

signal_processes() {
    local pid
    for pid in $(instance_processes); do
        kill -"$1" "$pid" 2>/dev/null || true
    done
}

wait_until_gone() {
    local tries
    for ((tries = $1 * 10; tries > 0; tries--)); do
        [ -n "$(instance_processes)" ] || return 0
        sleep 0.1
    done
    return 1
}

# Called by a trap.
# shellcheck disable=SC2317
stop_instance() {
    trap '' HUP INT TERM
    trap - EXIT
    say ''
    say 'Stopping the instance.'
    postfix -c "$DIR/etc" stop >/dev/null 2>&1 || true
    # A process that finishes its clients in the background outlives master(8).
    wait_until_gone 1 || signal_processes TERM
    wait_until_gone 6 || signal_processes KILL
    [ -z "$FOLLOWER" ] || kill "$FOLLOWER" 2>/dev/null || true
    wait_until_gone 2 || die "still running: $(instance_processes | xargs)"
    say 'Nothing is left running.'
}

# Has our parent, make, gone, or been sent SIGINT? GNU make passes SIGTERM on to its
# children, but leaves SIGINT to the terminal; while it handles the signal and waits for
# us, SIGINT (bit 2) is blocked in it.
parent_is_done() {
    local blocked
    [ -n "${GATEPOST_RUN_PARENT:-}" ] || return 1
    blocked=$(awk '/^SigBlk:/ { print $2 }' "/proc/$GATEPOST_RUN_PARENT/status" 2>/dev/null) ||
        return 0
    [ -n "$blocked" ] || return 0
    ((16#$blocked & 2))
}

explain() {
    cat <<END

Gatepost listens on 127.0.0.1:$PORT. Try, in another terminal:

  a polite client:    swaks --server 127.0.0.1:$PORT --local-interface 127.0.0.2 --to you@example.test
  the second visit:   the same once more; this time there is no wait
  a pregreeter:       bash -c 'exec 3<>/dev/tcp/127.0.0.1/$PORT; printf "EHLO early\\r\\n" >&3; cat <&3'

To reload: postfix -c $DIR/etc reload. Ctrl-C stops the instance. The mail log:

END
}

[ -x "$PROGRAM" ] || die "no such program: $PROGRAM"
choose_directory
[ -z "$(instance_processes)" ] || die "the instance in $DIR is running already"
mkdir -p "$DIR"/{etc,spool,data,log}
chown root:root "$DIR"/{etc,spool,log}
chown "$OWNER" "$DIR/data"
chmod 755 "$DIR"/{etc,spool,log}
chmod 700 "$DIR/data"
copy_daemons
write_configuration

trap stop_instance EXIT
trap 'exit 0' HUP INT TERM
touch "$DIR/log/maillog"
seen=$(wc -l <"$DIR/log/maillog")
# In a session of its own: a Ctrl-C is for this script, which stops the instance in order.
setsid --wait postfix -c "$DIR/etc" start </dev/null || die "the instance does not start"
explain
tail -n "+$((seen + 1))" -F "$DIR/log/maillog" &
FOLLOWER=$!
while kill -0 "$(cat "$DIR/spool/pid/master.pid" 2>/dev/null || echo x)" 2>/dev/null; do
    ! parent_is_done || exit 0
    sleep 0.5 &
    wait $! || true
done
die "master(8) of the instance has ended"
