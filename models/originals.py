"""Name the services of which an original one may run in place of ours."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias


class ServiceName(StrEnum):
    """The two services that may be original ones."""

    ORDER = "order"
    PAYMENT = "payment"


Originals: TypeAlias = frozenset[ServiceName]  # the services that are not ours
NO_ORIGINALS: Final[Originals] = frozenset()
