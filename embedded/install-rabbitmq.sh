#!/bin/sh
# Install RabbitMQ, the one part that no wheel brings, unless it is there.
set -eu
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null 2>&1 && exit 0
exec sh "$(dirname "$0")/apt-install.sh" RabbitMQ \
    "Install RabbitMQ 3.10 or newer with Erlang (https://www.rabbitmq.com/docs/download)" rabbitmq-server
