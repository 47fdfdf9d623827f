"""An HTTP client for servers that come and go."""

import httpx

from api import http_clients


def client(*, timeout: float) -> httpx.Client:
    """For any thread. It keeps no connection, since whoever is there may be killed between two requests.

    `httpx.request` would do the same, but reads the certificates of all the world for each request: 20 ms of CPU.
    """
    return http_clients.client(timeout=timeout, limits=httpx.Limits(max_keepalive_connections=0))
