"""An HTTP client for servers that come and go."""

import httpx

from cli import http_clients


def client(*, timeout: float) -> httpx.Client:
    """A client for any thread. It keeps no connection, since the server may be killed between two requests.

    `httpx.request` would do the same, but would load all certificates for each request: 20 ms of CPU.
    """
    return http_clients.client(timeout=timeout, limits=httpx.Limits(max_keepalive_connections=0))
