#!/bin/sh
# Install Debian's Chromium, in which the console is tested, unless it is there.
set -eu
[ ! -x /usr/bin/chromium ] || exit 0
exec sh "$(dirname "$0")/../../embedded/apt-install.sh" Chromium "Install it as /usr/bin/chromium" chromium fonts-liberation
