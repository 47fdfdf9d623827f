"""A gateway among fakes, for tests that need no server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NoReturn

import httpx
import pytest

from models.ids import uuid7
from tests.support.fakes.gateway import Neighbours

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def around() -> Neighbours:
    uuid7(
        LONG_AGO
    )  # ids only grow, except after a large step back: without one, a test would go on from the ids of the test before
    return Neighbours()


@pytest.fixture
async def client(around: Neighbours) -> AsyncIterator[httpx.AsyncClient]:
    async with around.client() as client:
        yield client


@pytest.fixture(scope="session")
def servers() -> NoReturn:
    """Fail each unit test that asks for servers, since they would make `make unit` slow."""
    pytest.fail("Unit tests start no servers. Move this test to tests/integration, or fake what it needs of them.")
