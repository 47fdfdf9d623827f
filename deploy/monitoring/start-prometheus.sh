#!/bin/sh
# Start Prometheus with the secrets of its environment in files: its configuration takes no variables.
set -eu
umask 077
secrets=${SAGA_MONITORING_SECRETS:-/etc/prometheus/secrets}
# printf is a part of the shell, so no command line shows what it writes.
printf '%s' "${SAGA_INTERNAL_TOKEN:?is missing: set it to the internal token}" >"$secrets/internal-token"
printf '%s' "${SAGA_METRICS_KEY:-}" >"$secrets/operator-key"
unset SAGA_INTERNAL_TOKEN SAGA_METRICS_KEY
exec prometheus "$@"
