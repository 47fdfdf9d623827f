"""PostgreSQL reads our array literals as what they were written from."""

from datetime import UTC
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.arrays import array
from tests.support.world import Servers

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_VALUES = {
    "text": _TEXT | st.sampled_from(["", "NULL", "null", '"', "\\", "{}", "a,b", "\\x00", "'"]),
    "uuid": st.uuids(),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "timestamptz": st.datetimes(timezones=st.just(UTC)),
    "jsonb": st.dictionaries(_TEXT, _TEXT | st.integers(-(2**53), 2**53) | st.none(), max_size=4),
}


@pytest.mark.parametrize("kind", _VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_postgresql_reads_every_value_as_it_was_written(servers: Servers, kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | _VALUES[kind], max_size=6))
    with psycopg.connect(servers.admin_dsn, options="-c timezone=UTC") as connection:
        row: Any = connection.execute(f"SELECT %s::{kind}[]", [array(values)]).fetchone()
    assert row[0] == values


def test_a_value_that_no_array_can_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="float has no place in an array"):
        array([1.5])
