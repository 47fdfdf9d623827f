#!/bin/sh
# Install RabbitMQ, the one part that no wheel brings, unless it is there.
set -eu
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "RabbitMQ is missing and there is no apt-get here. Install RabbitMQ 3.10 or newer with Erlang" \
        "(https://www.rabbitmq.com/docs/download) and try again." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || { echo "RabbitMQ is missing. As root: apt-get install rabbitmq-server" >&2; exit 1; }
fi
echo "Installing the system package rabbitmq-server …"
# The package would start a broker of its own; ours is private to its stack.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    made=1
fi
trap '[ -z "$made" ] || $as_root rm -f $policy' EXIT
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server >/dev/null; }
install 2>/dev/null || { $as_root apt-get update -qq; install; }
