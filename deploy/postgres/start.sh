#!/bin/sh
# Start PostgreSQL, unless another major version has made the data: then say what to do.
set -eu
made_by=$(cat "$PGDATA/PG_VERSION" 2>/dev/null || true)
installed=$(postgres -V | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
if [ -n "$made_by" ] && [ "$made_by" != "$installed" ]; then
    echo "$PGDATA was made by PostgreSQL $made_by, and PostgreSQL $installed can't read it: start the image of PostgreSQL" \
        "$made_by again, copy the database by pg_dump, and put the copy into an empty volume by pg_restore." \
        "docs/operations/upgrading-data.md has the commands" >&2
    exit 1
fi
exec "$@"
