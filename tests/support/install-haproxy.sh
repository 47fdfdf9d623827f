#!/bin/sh
# Install Debian's HAProxy and socat, for the tests of several instances, unless they are there.
set -eu
command -v socat >/dev/null 2>&1 && { [ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null 2>&1; } && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "HAProxy or socat is missing and there is no apt-get here. Install both and try again." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || { echo "Missing. As root: apt-get install haproxy socat" >&2; exit 1; }
fi
echo "Installing the system packages haproxy and socat …"
# The package would start a balancer of its own; the tests start theirs.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    made=1
fi
trap '[ -z "$made" ] || $as_root rm -f $policy' EXIT
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy socat >/dev/null; }
install 2>/dev/null || { $as_root apt-get update -qq; install; }
