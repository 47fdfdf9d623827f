"""One setting names all nodes of a cluster, and a process that loses its node turns to the next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from structlog.testing import capture_logs

from choreography.broker import Broker
from choreography.connecting import connect_to_any, nodes
from choreography.topology import INBOXES, Topology
from cli.commands import target
from embedded.errors import StackError
from stack import settings

pytestmark = pytest.mark.anyio

ONE = "amqp://u:p@a:5672/vhost"
PASSWORD = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        (ONE, (ONE,)),
        ("amqp://u:p,q@a/one,two", ("amqp://u:p,q@a/one,two",)),
        ("amqp://a/,amqps://b/", ("amqp://a/", "amqps://b/")),
        (
            "amqp://u:p@a:1 , amqp://u:p@b:2,\namqp://u:p@c:3/v",
            ("amqp://u:p@a:1", "amqp://u:p@b:2", "amqp://u:p@c:3/v"),
        ),
    ],
)
def test_a_url_follows_a_comma_and_other_commas_are_part_of_one(url: str, urls: tuple[str, ...]) -> None:
    assert nodes(url) == urls


@pytest.mark.parametrize(
    "url", ["amqp://a/,amqp://b:x/", "amqp://a,b/", "amqp://a:1,b:2/", "amqp://a/,amqp:///", "http://a/"]
)
def test_every_node_must_be_a_url_of_its_own(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", url)
    with pytest.raises(StackError, match=r"SAGA_AMQP_URL: must be like .*, or several such URLs separated by commas"):
        settings.load()


def test_no_password_of_a_cluster_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", f"amqp://u:{PASSWORD}@a/,amqp://u:{PASSWORD}@b/")
    loaded = settings.load()
    assert PASSWORD not in f"{loaded!r} {loaded.model_dump()}"
    monkeypatch.setenv("SAGA_AMQP_URL", f"amqp://u:{PASSWORD}@a/,amqp://u:{PASSWORD}@b:x/")
    with pytest.raises(StackError) as refused:
        settings.load()
    assert PASSWORD not in str(refused.value)


def test_the_command_line_takes_a_cluster_and_looks_at_every_node() -> None:
    cluster = "amqp://u:p@a:1,amqp://u:p@b:2"
    assert target.find(None, "amqp_url", environ={"SAGA_AMQP_URL": cluster}).amqp_url == cluster
    with pytest.raises(StackError, match="SAGA_AMQP_URL must be an address"):
        target.find(None, "amqp_url", environ={"SAGA_AMQP_URL": f"{cluster},amqp://c:x/"})


class Nodes:
    """Servers that hang up on every client, and the order in which they were asked."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[int] = asyncio.Queue()
        self.urls: list[str] = []

    @classmethod
    @asynccontextmanager
    async def listening(cls, count: int) -> AsyncIterator[Nodes]:
        nodes = cls()
        async with AsyncExitStack() as stack:
            for number in range(count):
                server = await stack.enter_async_context(
                    await asyncio.start_server(partial(nodes._hang_up, number), "127.0.0.1", 0)
                )
                nodes.urls.append(f"amqp://u:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            yield nodes

    async def next_asked(self, count: int) -> list[int]:
        return [await asyncio.wait_for(self.asked.get(), 60) for _ in range(count)]

    def _hang_up(self, number: int, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.put_nowait(number)
        writer.close()


@pytest.mark.parametrize(("count", "turns"), [(1, [0, 0, 0]), (3, [0, 1, 2, 0])])
async def test_each_connection_is_tried_at_the_next_node(count: int, turns: list[int]) -> None:
    with capture_logs() as logs:
        async with Nodes.listening(count) as cluster:
            running = asyncio.create_task(
                Broker(",".join(cluster.urls), name="b", topology=Topology(reads=INBOXES)).run()
            )
            assert await cluster.next_asked(len(turns)) == turns
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    told = [each["node"] for each in logs if each["event"] == "broker_unavailable"]
    assert told == [cluster.urls[turn].partition("@")[2].rstrip("/") for turn in turns][: len(told)] != []
    assert PASSWORD not in json.dumps(logs)


async def test_an_operator_is_refused_only_when_every_node_was_asked() -> None:
    async with Nodes.listening(3) as cluster:
        with pytest.raises(ConnectionError):
            await connect_to_any(",".join(cluster.urls), timeout=60)
        assert await cluster.next_asked(3) == [0, 1, 2]


@pytest.mark.parametrize("raised", [Exception(), StopAsyncIteration(), OSError("gone")])
async def test_a_connection_that_is_hung_up_on_is_tried_again_whatever_the_driver_raises(
    monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    tries: asyncio.Queue[str] = asyncio.Queue()

    async def connect(url: str, **_: object) -> None:
        tries.put_nowait(url)
        raise raised

    monkeypatch.setattr("aio_pika.connect", connect)
    running = asyncio.create_task(Broker(ONE, name="b", topology=Topology(reads=INBOXES)).run())
    for _ in range(3):
        assert await asyncio.wait_for(tries.get(), 60) == ONE
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_error_in_our_code_is_no_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(_url: str, **_: object) -> None:
        raise KeyError("key")

    monkeypatch.setattr("aio_pika.connect", connect)
    with pytest.raises(KeyError):
        await asyncio.wait_for(Broker(ONE, name="b", topology=Topology(reads=INBOXES)).run(), 60)
