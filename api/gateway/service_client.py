"""Send requests to a service by aiohttp, which takes a tenth of httpx's CPU time, with any number of connections."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
from yarl import URL

from api.gateway.dependencies import ServiceRequest, ServiceResponse
from api.telemetry import HttpTraces

_CONNECT: Final = 2.0  # seconds
# uvicorn closes a connection after 5 s of idleness. We close it earlier, so that we never use a closed one.
_KEPT_IDLE: Final = 4.0  # seconds
_NOBODY: Final = UUID(int=0)
_PROBE: Final = 1.0  # seconds


class ServiceClient:
    """A QueryClient for the service at `url`; every request shows the internal token, or the credentials of the URL.

    It goes there directly: proxies, netrc and certificates named in the environment are not looked at, and a redirect
    is not followed, so that the token never leaves. How long an answer may take, and how many requests are made at
    once, is up to the caller.
    """

    def __init__(self, url: str, *, token: str, traces: HttpTraces | None = None) -> None:
        self._base = str(URL(url).with_user(None)).rstrip("/")
        self._traces = traces
        self._credentials = _credentials_of(URL(url)) or f"Bearer {token}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": self._credentials},
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_IDLE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(self, question: ServiceRequest) -> ServiceResponse:
        query = f"?{urlencode(question.params)}" if question.params else ""
        url = URL(f"{self._base}{question.path}{query}", encoded=True)
        headers = question.headers
        if self._traces is not None and (context := self._traces.current()) is not None:
            headers = {**headers, "traceparent": context}
        try:
            async with self._session.request(
                question.method, url, data=question.content, headers=headers, allow_redirects=False
            ) as answer:
                return ServiceResponse(answer.status, await answer.read())
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error

    async def reads(self, collection: str) -> str:
        """`ok` if a query would be answered; else what is wrong. `collection` is a path such as `/orders`."""
        try:
            async with asyncio.timeout(_PROBE):
                answer = await self.request(ServiceRequest(method="GET", path=f"{collection}/{_NOBODY}"))
        except OSError as error:  # TimeoutError is one, too
            return f"does not answer: {type(error).__name__}"
        match answer.status_code:
            case 200 | 404:
                return "ok"
            case 401 | 403:
                return "refuses the internal token, or its URL's password: it must be the same on both sides"
            case status:
                return f"cannot answer: it said {status}"


def _credentials_of(url: URL) -> str | None:
    """Basic credentials (RFC 7617) of a URL with a password; None without one."""
    if url.password is None:
        return None
    credentials = f"{url.user or ''}:{url.password}"
    return f"Basic {b64encode(credentials.encode()).decode()}"
