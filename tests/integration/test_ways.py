"""What is said on a way that is cut arrives when the way is whole again, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from embedded.errors import StackError
from embedded.ways import Way, Ways
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"
LONG = 60.0  # seconds


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """A server that sends back what it is sent. Its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@asynccontextmanager
async def ways(to: int, *ends: str) -> AsyncIterator[tuple[Ways, int]]:
    at = free_port()
    standing = Ways([Way(at=(HOST, at), to=(HOST, to), ends=frozenset(ends))])
    await standing.stand()
    yield standing, at
    standing.heal()
    standing.close()


async def silent(reader: asyncio.StreamReader) -> bool:
    """Whether nothing is heard for a quarter of a second, not even the end."""
    try:
        async with asyncio.timeout(0.25):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_bytes_and_their_end_arrive_after_the_cut() -> None:
    healed = asyncio.Event()
    async with echoing() as port, ways(port, "payment", "rabbitmq") as (standing, at):
        reader, writer = await asyncio.open_connection(HOST, at)
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        standing.cut("payment", 1.0, healed.set)
        writer.write(b"meanwhile")
        writer.write_eof()
        late, later = await asyncio.open_connection(HOST, at)
        later.write(b"anew")
        assert await silent(reader)
        assert await silent(late)
        assert not healed.is_set()
        assert await asyncio.wait_for(reader.read(), 5) == b"meanwhile"
        assert await asyncio.wait_for(late.readexactly(4), 5) == b"anew"
        assert healed.is_set()


async def test_a_megabyte_that_was_on_its_way_arrives_whole() -> None:
    sent = bytes(range(256)) * 4096
    async with echoing() as port, ways(port, "payment") as (standing, at):
        reader, writer = await asyncio.open_connection(HOST, at)
        standing.cut("payment", LONG, lambda: None)
        writer.write(sent)
        writer.write_eof()
        assert await silent(reader)
        standing.heal()
        assert await asyncio.wait_for(reader.read(), 10) == sent


async def test_a_way_between_two_that_are_cut_off_is_whole_when_both_have_healed() -> None:
    async with echoing() as port, ways(port, "payment", "rabbitmq") as (standing, at):
        reader, writer = await asyncio.open_connection(HOST, at)
        first, second = asyncio.Event(), asyncio.Event()
        standing.cut("payment", 0.1, first.set)
        standing.cut("rabbitmq", 0.6, second.set)
        writer.write(b"x")
        await first.wait()
        assert await silent(reader)
        assert await asyncio.wait_for(reader.read(1), 5) == b"x"
        assert second.is_set()
        assert (standing.lead_to("payment"), standing.lead_to("order")) == (True, False)


async def test_who_is_cut_off_leaves_the_others_alone() -> None:
    async with echoing() as port, ways(port, "order", "rabbitmq") as (standing, at):
        reader, writer = await asyncio.open_connection(HOST, at)
        standing.cut("payment", LONG, lambda: None)
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(1), 5) == b"x"


async def test_a_connection_ends_if_nobody_listens_at_the_other_end() -> None:
    async with ways(free_port(), "order") as (_, at):
        reader, writer = await asyncio.open_connection(HOST, at)
        writer.write(b"x")
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_place_that_is_taken_is_named() -> None:
    async with echoing() as port:
        with pytest.raises(StackError, match=f"Port {port} cannot be bound"):
            await Ways([Way(at=(HOST, port), to=(HOST, 1), ends=frozenset())]).stand()
