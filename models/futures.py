"""Leave futures whose result may interest nobody."""

from __future__ import annotations

import asyncio
from typing import Any


def forget_error(done: asyncio.Future[Any]) -> None:
    """As a done callback: asyncio shall not complain of an error that nobody has retrieved. Who waits still gets it."""
    if not done.cancelled():
        done.exception()
