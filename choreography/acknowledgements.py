"""Acknowledge deliveries together: one frame for all that were settled at almost the same time."""

from __future__ import annotations

import asyncio
from collections import deque

from aiormq.abc import AbstractChannel, DeliveredMessage

from choreography.frames import FrameWriter, ack_frame


class Acknowledgements:
    """Tracks which deliveries a channel with one consumer has received, and which of them are settled.

    Acknowledgements leave in the same turn of the event loop, or after `pause` seconds together with later ones.
    RabbitMQ has much less work with acknowledgements that come together.
    """

    def __init__(self, channel: AbstractChannel, *, pause: float = 0.0) -> None:
        self._channel = channel
        self._pause = pause
        self._writer = FrameWriter(channel)
        self._open: deque[int] = deque()  # tags in the order of arrival; some may be acknowledged already
        self._settled: set[int] = set()  # tags that are not acknowledged yet
        self._acknowledged: set[int] = set()  # acknowledged tags that come after an open one
        self._scheduled = False

    @property
    def open(self) -> int:
        """How many deliveries are not settled."""
        return len(self._open) - len(self._settled) - len(self._acknowledged)

    def received(self, delivery: DeliveredMessage) -> int:
        """Note a delivery, in the order of arrival. Returns the tag by which it is settled."""
        tag = delivery.delivery_tag or 0
        self._open.append(tag)
        return tag

    def settle(self, delivery_tag: int) -> None:
        """Acknowledge this delivery with the next frames. Raises ConnectionError if its channel is closed."""
        if self._channel.is_closed:
            raise ConnectionError("the delivery's channel was closed before it could be acknowledged")
        self._settled.add(delivery_tag)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(self._pause, self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        last: int | None = None
        while self._open and (self._open[0] in self._settled or self._open[0] in self._acknowledged):
            tag = self._open.popleft()
            if tag in self._settled:
                self._settled.discard(tag)
                last = tag  # the frame must name a tag that is not acknowledged yet, else RabbitMQ closes the channel
            self._acknowledged.discard(tag)
        frames = [] if last is None else [ack_frame(self._channel.number, last, multiple=True)]
        frames += [ack_frame(self._channel.number, tag, multiple=False) for tag in sorted(self._settled)]
        self._acknowledged |= self._settled
        self._settled.clear()
        self._writer.add(b"".join(frames))
