#!/usr/bin/env bash
# Start RabbitMQ with the users and rights of definitions.json. Each start gives them anew, on volumes from before too.
set -euo pipefail
umask 077

bytes() { # the bytes of so many hex digits
	printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"
}

hash_of() { # a password as RabbitMQ keeps it; builtins alone see it, so that no command line shows it
	local salt digest
	salt=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
	digest=$({ bytes "$salt"; printf '%s' "$1"; } | sha256sum | cut -c-64)
	bytes "$salt$digest" | base64 -w0
}

definitions=$(<"${SAGA_RIGHTS:-/etc/saga}/definitions.json")
for user in saga order payment worker gateway; do
	variable=SAGA_BROKER_PASSWORD
	[ "$user" = saga ] || variable=SAGA_BROKER_${user^^}_PASSWORD
	[ -n "${!variable:-}" ] || { echo "$variable is missing: set it to the password of the user $user" >&2; exit 1; }
	definitions=${definitions//"@$user@"/$(hash_of "${!variable}")}
	unset "$variable"
done
printf '%s\n' "$definitions" >"${SAGA_DEFINITIONS:-/var/lib/rabbitmq/definitions.json}"
exec "$@"
