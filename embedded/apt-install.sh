#!/bin/sh
# Install Debian's packages, and start none of their services: apt-install.sh NAME HINT PACKAGE…
# NAME is what people call it. HINT says what to do where there is no apt-get.
set -eu
name=$1 hint=$2
shift 2
if ! command -v apt-get >/dev/null 2>&1; then
    echo "$name is missing and there is no apt-get here. $hint and try again." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || { echo "$name is missing. As root: apt-get install $*" >&2; exit 1; }
fi
echo "Installing the system packages: $*"
# Some packages would start a server of their own; ours are private to their stack.
policy=/usr/sbin/policy-rc.d
made=
trap '[ -z "$made" ] || $as_root rm -f $policy' EXIT
# Without these, a signal would end this shell without the line above, and no service of the machine would start again.
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
if [ ! -e $policy ]; then
    made=1
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
install "$@" 2>/dev/null || { $as_root apt-get update -qq; install "$@"; }
# Nor shall they start with the machine. Where no systemd is, nothing does that.
if command -v systemctl >/dev/null 2>&1; then
    for package in "$@"; do $as_root systemctl disable "$package" >/dev/null 2>&1 || true; done
fi
