"""Migrate one database, as the Kubernetes jobs do before a roll-out: `python -m stack.migrations orders|payments`."""

from __future__ import annotations

import sys
from typing import get_args

from embedded.errors import StackError
from models.migrations import DatabaseName, migrate
from stack.settings import load


def main(name: str) -> None:
    """Bring the database up to date; a database that is up to date stays as it is. Raises what PostgreSQL raises."""
    try:
        settings = load()
    except StackError as error:
        raise SystemExit(str(error)) from None
    for known in get_args(DatabaseName):
        if name == known:
            url = settings.orders_database_url if known == "orders" else settings.payments_database_url
            migrate(known, url.get_secret_value())
            return
    raise SystemExit(f"There is no database {name!r}; name one of {', '.join(get_args(DatabaseName))}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
