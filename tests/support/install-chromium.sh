#!/bin/sh
# Install Debian's Chromium, in which the console is tested, unless it is there.
set -eu
[ ! -x /usr/bin/chromium ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Chromium is missing and there is no apt-get here. Install it as /usr/bin/chromium and try again." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || { echo "Chromium is missing. As root: apt-get install chromium" >&2; exit 1; }
fi
echo "Installing the system package chromium …"
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; }
install 2>/dev/null || { $as_root apt-get update -qq; install; }
