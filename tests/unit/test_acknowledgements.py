"""Deliveries are acknowledged together, each exactly once and none before it is settled."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame

from choreography.acknowledgements import Acknowledgements

pytestmark = pytest.mark.anyio


class _Channel:
    """The part of aiormq's channel that acknowledging uses: its number, its write queue, and whether it is closed."""

    number = 1

    def __init__(self) -> None:
        self.is_closed = False
        self.write_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closing: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class _Broker:
    """The broker's side of a channel: the unacknowledged tags, and RabbitMQ's rule for unknown tags."""

    def __init__(self, channel: _Channel, deliveries: int) -> None:
        self._channel = channel
        self.unacknowledged = list(range(1, deliveries + 1))
        self.frames = 0

    def read(self) -> None:
        while not self._channel.write_queue.empty():
            payload = self._channel.write_queue.get_nowait().payload
            while payload:
                size, _, ack = frame.unmarshal(payload)
                payload = payload[size:]
                self.frames += 1
                assert isinstance(ack, commands.Basic.Ack)
                assert ack.delivery_tag in self.unacknowledged, "RabbitMQ would close the channel"
                gone = [tag for tag in self.unacknowledged if tag == ack.delivery_tag or ack.multiple]
                self.unacknowledged = [tag for tag in self.unacknowledged if tag not in gone or tag > ack.delivery_tag]


def _delivery(tag: int) -> Any:
    return SimpleNamespace(delivery_tag=tag)


@given(st.data())
def test_each_delivery_is_acknowledged_once_and_none_too_early_whatever_the_order(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(1, 13)))
    pauses = data.draw(st.lists(st.booleans(), min_size=12, max_size=12))

    async def settle_all() -> None:
        channel = _Channel()
        broker = _Broker(channel, 12)
        acknowledgements = Acknowledgements(channel)  # type: ignore[arg-type]
        for tag in range(1, 13):
            assert acknowledgements.received(_delivery(tag)) == tag
        unsettled = set(order)
        for tag, pause in zip(order, pauses, strict=True):
            acknowledgements.settle(tag)
            unsettled.discard(tag)
            if pause:
                await _turns()
                broker.read()
                assert set(broker.unacknowledged) == unsettled
        await _turns()
        broker.read()
        assert broker.unacknowledged == []

    asyncio.run(settle_all())


async def test_deliveries_settled_together_are_acknowledged_in_one_frame() -> None:
    channel = _Channel()
    broker = _Broker(channel, 100)
    acknowledgements = Acknowledgements(channel)  # type: ignore[arg-type]
    for tag in range(1, 101):
        acknowledgements.received(_delivery(tag))
    for tag in range(1, 101):
        acknowledgements.settle(tag)
    await _turns()
    broker.read()
    assert (broker.frames, broker.unacknowledged) == (1, [])


async def test_deliveries_settled_within_the_pause_are_acknowledged_in_one_frame() -> None:
    channel = _Channel()
    broker = _Broker(channel, 10)
    acknowledgements = Acknowledgements(channel, pause=1.0)  # type: ignore[arg-type]
    for tag in range(1, 11):
        acknowledgements.received(_delivery(tag))
    for tag in range(1, 11):
        acknowledgements.settle(tag)
        await _turns()
    broker.read()
    assert (broker.frames, len(broker.unacknowledged)) == (0, 10)
    async with asyncio.timeout(60):
        while channel.write_queue.empty():  # noqa: ASYNC110 - the end of the pause tells nobody
            await asyncio.sleep(0.01)
    broker.read()
    assert (broker.frames, broker.unacknowledged) == (1, [])


async def test_nothing_is_acknowledged_on_a_closed_channel() -> None:
    channel = _Channel()
    acknowledgements = Acknowledgements(channel)  # type: ignore[arg-type]
    tag = acknowledgements.received(_delivery(1))
    channel.is_closed = True
    with pytest.raises(ConnectionError, match="before it could be acknowledged"):
        acknowledgements.settle(tag)


async def _turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)
