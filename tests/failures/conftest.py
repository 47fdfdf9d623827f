"""Fixtures that several tests of failures use."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.chaos.proxy import Proxy
from tests.support.world import World


@pytest.fixture
def broker_proxy(world: World) -> Iterator[Proxy]:
    """The way to the broker that the world's processes take; the test itself goes there directly."""
    proxy = Proxy(urlsplit(world.amqp_url).port or 5672)
    world.env["SAGA_AMQP_URL"] = proxy.leading_to(world.amqp_url)
    try:
        yield proxy
    finally:
        proxy.close()
