#!/bin/sh
# Install Debian's HAProxy and socat, for the tests of several instances, unless they are there.
set -eu
command -v socat >/dev/null 2>&1 && { [ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null 2>&1; } && exit 0
exec sh "$(dirname "$0")/../../embedded/apt-install.sh" "HAProxy or socat" "Install both" haproxy socat
