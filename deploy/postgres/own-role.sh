#!/bin/sh
# On an empty volume: open the database to the service's own role, and close every other way in over the network.
# The rights are those that embedded/postgres.py gives; a test compares both.
set -eu

# psql reads the password from the environment by itself, so that no command line shows it; nor does the log show it.
psql -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set role="$SERVICE_ROLE" --set database="$POSTGRES_DB" --set superuser="$POSTGRES_USER" <<'SQL'
\getenv password SERVICE_PASSWORD
SET log_min_error_statement = panic;
CREATE ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
ALTER DATABASE :"database" OWNER TO :"superuser";
REVOKE ALL ON DATABASE :"database", postgres, template1 FROM PUBLIC;
REVOKE ALL ON DATABASE :"database" FROM :"role";
GRANT CONNECT ON DATABASE :"database" TO :"role";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"role";
SQL

# The superuser connects from inside the container alone.
cat >"$PGDATA/pg_hba.conf" <<HBA
local all $POSTGRES_USER trust
host $POSTGRES_DB $SERVICE_ROLE all scram-sha-256
HBA
