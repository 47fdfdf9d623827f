"""A gateway among fake neighbours, for the tests that need no server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

import httpx
import pytest

from tests.fakes.gateway import Neighbours


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def around() -> Neighbours:
    return Neighbours()


@pytest.fixture
async def client(around: Neighbours) -> AsyncIterator[httpx.AsyncClient]:
    async with around.client() as client:
        yield client


@pytest.fixture(scope="session")
def servers() -> NoReturn:
    """A unit test that asks for servers says so at once, instead of making `make unit` slow."""
    pytest.fail("Unit tests start no servers. Move this test to tests/integration, or fake what it needs of them.")
