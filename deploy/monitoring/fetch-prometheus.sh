#!/bin/sh
# Fetch Debian's Prometheus into a folder, for the tests of the alerts: nothing is installed, no service is started.
set -eu
[ -x "$1/usr/bin/promtool" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "Prometheus is missing and there is no apt-get here; put prometheus and promtool on PATH" >&2; exit 1; }
mkdir -p "$1"
cd "$1"
apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq; apt-get download -qq prometheus; }
dpkg-deb -x prometheus_*.deb .
rm prometheus_*.deb
