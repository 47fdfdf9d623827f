"""Make HTTP clients that go straight where they are told, and look at nothing in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def client(**options: Any) -> httpx.Client:
    """An httpx.Client for a part of this system, on this machine or another."""
    import httpx  # it takes a while to load, and most commands of `saga` need none

    return httpx.Client(trust_env=False, **options)


def async_client(**options: Any) -> httpx.AsyncClient:
    """The same for asyncio."""
    import httpx

    return httpx.AsyncClient(trust_env=False, **options)
