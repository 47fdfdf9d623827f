"""Headers are read as their RFCs say, and an Idempotency-Key stands for the meaning of a body."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from starlette.requests import Request

from api.gateway.idempotency import digests_of
from api.gateway.request_headers import preferred_wait
from api.gateway.schemas import CreateOrder
from models.saga import Coordinator

LONGEST = 30


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (["wait=10"], 10),
        (["WAIT = 10"], 10),
        (['wait="10"'], 10),
        (["wait=0"], 0),
        (["wait=31"], LONGEST),
        (["wait=4294967296"], LONGEST),
        (["wait=" + "9" * 10_000], LONGEST),
        (["wait=" + "0" * 10_000 + "7"], 7),
        (["wait=5; foo=bar"], 5),
        (["respond-async, wait=5"], 5),
        (["respond-async", "wait=5"], 5),
        (["wait=5", "wait=6"], 5),
        (["", ",, ,wait=5"], 5),
        (['foo="a, wait=7", wait=5'], 5),
        (['foo="a\\", wait=7", wait=5'], 5),
        (['respond-async; note="x, wait=7"; more', "wait=5"], 5),
        (['foo="a, wait=7"'], None),
        (['foo="a, wait=7'], None),
        (["respond-async; wait=5"], None),
        (["await=5"], None),
        (["wait"], None),
        (["wait="], None),
        (["wait=-5"], None),
        (["wait=1.5"], None),
        (["wait=5 6"], None),
        (['wait="5'], None),
        (["wait=soon, wait=5"], None),
        ([], None),
    ],
)
def test_prefer_wait_is_read_as_rfc_7240_says(fields: list[str], seconds: int | None) -> None:
    headers = [(b"prefer", field.encode()) for field in fields]
    assert preferred_wait(Request({"type": "http", "headers": headers}), LONGEST) == seconds


@pytest.mark.parametrize("hostile", ['a="' + '\\"' * 30_000, '"a' * 30_000, "a " * 30_000, ", " * 30_000, "a" * 60_000])
def test_a_hostile_prefer_takes_no_time(hostile: str) -> None:
    """With quadratic time this would take minutes."""
    assert preferred_wait(Request({"type": "http", "headers": [(b"prefer", hostile.encode())]}), LONGEST) is None


def test_keys_that_an_earlier_version_has_kept_still_match() -> None:
    user_id = "d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"
    choreography, orchestration = Coordinator
    left_out = CreateOrder.model_validate({"userId": user_id, "total": 999})
    spelled_out = CreateOrder.model_validate({"userId": user_id, "total": 999, "coordinator": "choreography"})

    def kept(named: str | None, given: str) -> str:
        return sha256(msgspec.json.encode([user_id, 999, "USD", named, None, given])).hexdigest()

    both = {kept(None, "choreography"), kept("choreography", "choreography")}
    assert digests_of(spelled_out, choreography, orchestration) == both
    assert digests_of(left_out, choreography, choreography) == both
    assert digests_of(left_out, choreography, orchestration) == {kept(None, "choreography")}
