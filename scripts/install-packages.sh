#!/bin/bash
# Install Debian packages, as root, so that no service starts.
#
#     install-packages.sh PACKAGE...
#
# While the packages are installed, policy-rc.d(8) forbids to start services, unless the
# machine has one of its own that does so already. Postfix comes without a configuration;
# without /etc/postfix/main.cf its unit does not start at the next boot either. The units of
# fail2ban and rsyslog are disabled, and logwatch's daily mail: only their programs are wanted.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

POLICY=/usr/sbin/policy-rc.d

if [ -e "$POLICY" ]; then
    status=0
    "$POLICY" postfix start >/dev/null 2>&1 || status=$?
    [ "$status" = 101 ] ||
        die "$POLICY of this machine lets services start; please install yourself: $*"
else
    trap 'rm -f "$POLICY"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\n# Made by Gatepost while it installs packages.\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
fi

case " $* " in
    *' postfix '*)
        echo 'postfix postfix/main_mailer_type select No configuration' |
            debconf-set-selections
        ;;
esac
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "$@" </dev/null
for name in fail2ban rsyslog; do
    case " $* " in
        *" $name "*)
            if command -v systemctl >/dev/null; then
                systemctl disable "$name.service"
            fi
            ;;
    esac
done
case " $* " in
    *' logwatch '*) chmod a-x /etc/cron.daily/00logwatch ;;
esac
