"""Make HTTP clients that connect directly, and ignore proxies and certificates in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def client(**options: Any) -> httpx.Client:
    """An httpx.Client for a part of this system, on this machine or another."""
    import httpx  # imported here, because it loads slowly and most commands of `saga` don't need it

    return httpx.Client(trust_env=False, **options)


def async_client(**options: Any) -> httpx.AsyncClient:
    """An httpx.AsyncClient for a part of this system."""
    import httpx

    return httpx.AsyncClient(trust_env=False, **options)
