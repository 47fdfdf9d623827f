#!/bin/sh
# On an empty volume, give the database to the service's role, and close every other way in over the network.
set -eu

psql -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set role="$SERVICE_ROLE" --set password="$SERVICE_PASSWORD" --set database="$POSTGRES_DB" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
ALTER DATABASE :"database" OWNER TO :"role";
REVOKE ALL ON DATABASE :"database", postgres, template1 FROM PUBLIC;
SQL

# The superuser connects from inside the container alone.
cat >"$PGDATA/pg_hba.conf" <<HBA
local all $POSTGRES_USER trust
host $POSTGRES_DB $SERVICE_ROLE all scram-sha-256
HBA
