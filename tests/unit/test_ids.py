"""Order ids are UUIDv7s that only grow, and tell when they were minted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ids import Uuid7Mint, is_marked, marked, minted_at

NOW = datetime(2026, 2, 15, 1, 42, 19, 123000, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(INSTANTS)
def test_an_id_has_the_layout_of_rfc_9562(now: datetime) -> None:
    minted = Uuid7Mint()(now)

    assert (minted.version, minted.variant) == (7, RFC_4122)
    assert int(now.timestamp() * 1000) == minted.int >> 80


@given(st.lists(st.integers(-9_000, 50), max_size=30))
def test_ids_grow_even_if_the_clock_stands_still_or_steps_back_a_little(steps: list[int]) -> None:
    mint = Uuid7Mint()

    minted = [mint(NOW)] + [mint(NOW + timedelta(milliseconds=step)) for step in steps]

    assert sorted(set(minted)) == minted


def test_after_a_large_step_back_the_new_time_counts() -> None:
    mint = Uuid7Mint()
    mint(NOW)
    earlier = NOW - timedelta(hours=1)

    assert earlier == minted_at(mint(earlier))


def test_an_id_tells_when_it_was_minted() -> None:
    assert minted_at(Uuid7Mint()(NOW)) == NOW


def test_an_id_of_another_kind_has_no_time() -> None:
    assert minted_at(uuid4()) is None
    assert minted_at(UUID("ffffffff-ffff-7fff-8fff-ffffffffffff")) is None


@pytest.mark.parametrize("mark", [True, False])
def test_an_id_carries_a_mark_and_stays_the_id_of_its_moment(mark: bool) -> None:
    minted = Uuid7Mint()(NOW)
    told = marked(minted, mark)
    assert is_marked(told) is mark
    assert (told.version, minted_at(told)) == (7, minted_at(minted))


def test_an_id_that_somebody_else_minted_carries_no_mark() -> None:
    assert not is_marked(UUID("d55fa6d6-63c2-4633-aeaf-ecf0c80fb48f"))
