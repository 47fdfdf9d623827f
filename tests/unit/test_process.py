"""A process runs until it is told to stop, and raises when it ends for any other reason."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from stack.process import Wired, listen, serve

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def collector_as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def served(stop: asyncio.Event, *background: Coroutine[Any, Any, None]) -> None:
    with listen("127.0.0.1", 0, "test") as listener:
        wired = Wired(app=FastAPI(), background=list(background))
        await serve(wired, listener, stop, timeout=0.1, request_timeout=1, connections=10)


async def run_for_ever() -> None:
    await asyncio.Event().wait()


async def end() -> None: ...


async def end_cancelled() -> None:
    raise asyncio.CancelledError


async def fail() -> None:
    raise KeyError("a part")


async def test_a_process_that_is_told_to_stop_ends_without_an_error() -> None:
    stop = asyncio.Event()
    stop.set()
    await served(stop, run_for_ever())


async def test_a_request_under_way_has_the_time_that_all_begun_work_has_to_be_answered() -> None:
    stop, app = asyncio.Event(), FastAPI()

    @app.get("/")
    async def answer_slowly() -> str:
        stop.set()
        await asyncio.sleep(2.5)  # longer than what an answer gets in any case
        return "an answer"

    with listen("127.0.0.1", 0, "test") as listener:
        serving = serve(Wired(app=app), listener, stop, timeout=30, request_timeout=60, connections=10)
        running = asyncio.create_task(serving)
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=30)
        await running
    assert (answer.status_code, answer.json()) == (200, "an answer")


async def test_a_part_that_loses_its_cancellation_is_cancelled_again() -> None:
    async def lose_one() -> None:
        with suppress(asyncio.CancelledError):
            await run_for_ever()
        await run_for_ever()

    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    async with asyncio.timeout(60):
        await served(stop, lose_one())


@pytest.mark.parametrize("part", [end, end_cancelled])
async def test_a_part_that_ends_unasked_is_an_error(part: Any) -> None:
    with pytest.raises(RuntimeError, match="nobody told it to"):
        await served(asyncio.Event(), run_for_ever(), part())


async def test_the_error_of_a_failed_part_is_raised() -> None:
    with pytest.raises(KeyError, match="a part"):
        await served(asyncio.Event(), run_for_ever(), fail())


async def test_of_two_parts_that_fail_together_one_is_raised_and_the_other_is_logged() -> None:
    with capture_logs() as logs, pytest.raises(KeyError, match="a part"):
        await served(asyncio.Event(), fail(), fail())
    assert [str(each["exc_info"]) for each in logs if each["event"] == "part_failed"] == ["'a part'"]


async def test_nobody_is_believed_who_claims_to_ask_for_another() -> None:
    stop, app = asyncio.Event(), FastAPI()

    @app.get("/")
    async def whoever(request: Request) -> list[str]:
        return [request.client.host if request.client else "", request.url.scheme]

    with listen("127.0.0.1", 0, "test") as listener:
        serving = serve(Wired(app=app), listener, stop, timeout=1, request_timeout=60, connections=10)
        running = asyncio.create_task(serving)
        async with httpx.AsyncClient() as client:
            claims = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
            answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", headers=claims, timeout=30)
        stop.set()
        await running
    assert answer.json() == ["127.0.0.1", "http"]


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    """It does not know them (RFC 9112, 6.1): its answer ends with the connection."""
    stop, app = asyncio.Event(), FastAPI()

    @app.get("/")
    async def in_pieces() -> StreamingResponse:
        return StreamingResponse(iter([b"one ", b"two"]))

    with listen("127.0.0.1", 0, "test") as listener:
        serving = serve(Wired(app=app), listener, stop, timeout=1, request_timeout=60, connections=10)
        running = asyncio.create_task(serving)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(30):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        stop.set()
        await running
    assert head.startswith(b"HTTP/1.1 200")
    assert (b"transfer-encoding" in head.lower(), body) == (False, b"one two")
