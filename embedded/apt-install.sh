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
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    made=1
fi
trap '[ -z "$made" ] || $as_root rm -f $policy' EXIT
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
install "$@" 2>/dev/null || { $as_root apt-get update -qq; install "$@"; }
