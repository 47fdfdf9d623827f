"""Define the types and rules of fields that several requests have."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from models.money import CURRENCIES, MAX_TOTAL

ORDER_ID: Final = "019c5ef4-0d8f-7a3c-9f1e-5b1d2c3e4f50"  # of the examples
PAYMENT_ID: Final = "019c5ef4-0d8f-8b1c-a3d4-8f0e1d2c3b4a"


def _check_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("must be an active ISO 4217 code in capitals, such as USD or EUR")
    return code


def _digits_only(text: Any) -> Any:
    if isinstance(text, str) and not re.fullmatch(r"-?[0-9]{1,30}", text):
        raise ValueError("must be a whole number in digits")
    return text


def _no_fraction(value: object) -> object:
    if isinstance(value, float | str):
        raise PydanticCustomError("int_type", "must be a whole number of minor units: 999 is 9.99")
    return value


def _no_number(time: Any) -> Any:
    if not isinstance(time, datetime) and not (isinstance(time, str) and "-" in time[1:]):
        raise ValueError("must be a date and time such as 2026-02-15T01:42:19Z")
    return time


Currency = Annotated[
    str,
    AfterValidator(_check_currency),
    WithJsonSchema({"type": "string", "enum": sorted(CURRENCIES), "description": "ISO 4217 code"}),
]
MinorUnits = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_TOTAL, description="In minor units: 999 is 9.99"),
    BeforeValidator(_no_fraction),
]
# Seconds since 1970 are no time here: whoever means a year would name a moment of 1970.
PointInTime = Annotated[AwareDatetime, BeforeValidator(_no_number)]
PageNumber = Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(_digits_only)]
PageLimit = Annotated[int, Field(ge=1, le=100), BeforeValidator(_digits_only)]
# The aliases are the clients' names, so that a 422 names the field by the name that the client knows.
OrderIdInPath = Annotated[UUID, Path(alias="orderId", description="The order's id", examples=[ORDER_ID])]
UserIdInPath = Annotated[UUID, Path(alias="userId", description="The user's id")]
PaymentIdInPath = Annotated[UUID, Path(alias="paymentId", description="The payment's id", examples=[PAYMENT_ID])]
# The gateway's time at which it asks, in ISO 8601: an orchestrated order's wait is counted from the time in its id.
ASKED_AT: Final = "X-Asked-At"
