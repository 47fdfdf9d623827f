"""The gateway shows a service the internal token, or the credentials in the service's URL, and follows no redirect."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import pytest

from api.gateway.dependencies import ServiceRequest
from api.gateway.service_client import ServiceClient

pytestmark = pytest.mark.anyio


class Listener:
    """A server that keeps the head of each request, and answers it with an empty object."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        ("", "Bearer internal"),
        ("gateway@", "Bearer internal"),
        ("gateway:other@", "Basic " + b64encode(b"gateway:other").decode()),
        (":p%40ss%3A%C3%BC@", "Basic " + b64encode(":p@ss:\u00fc".encode()).decode()),
        ("gateway:@", "Basic " + b64encode(b"gateway:").decode()),
    ],
)
async def test_a_url_with_a_password_is_asked_with_that(credentials: str, shown: str) -> None:
    listener = Listener()
    async with await asyncio.start_server(listener, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with ServiceClient(f"http://{credentials}127.0.0.1:{port}/", token="internal") as client:
            answer = await client.request(ServiceRequest(method="GET", path="/orders"))
    assert answer.status_code == 200
    [head] = listener.heads
    assert head.startswith("GET /orders HTTP/1.1\r\n")
    assert [line for line in head.split("\r\n") if line.startswith("Authorization")] == [f"Authorization: {shown}"]
