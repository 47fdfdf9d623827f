"""Frames that the driver can't decode are replaced, and no other frame is touched."""

from __future__ import annotations

import struct

import pamqp.frame
import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.header import ContentHeader

from choreography.frames import publish_frames
from choreography.outgoing_message import OutgoingMessage
from choreography.undecodable import Mender, check_decoded, undecodable
from models.messages import MalformedMessage
from tests.support.raw_amqp import CORRELATION_ID, PRIORITY, TIMESTAMP, properties, short

CHANNEL = 7


def framed(kind: int, content: bytes) -> tuple[bytes, bytes]:
    """A frame's first seven bytes, and the others."""
    return struct.pack(">BHI", kind, CHANNEL, len(content)), content + b"\xce"


def header(values: bytes) -> tuple[bytes, bytes]:
    return framed(2, struct.pack(">HHQ", 60, 0, 5) + values)


def deliver(exchange: bytes, routing_key: bytes, tag: int = 1) -> tuple[bytes, bytes]:
    return framed(
        1, b"\0\x3c\0\x3c" + short(b"consumer") + struct.pack(">QB", tag, 1) + short(exchange) + short(routing_key)
    )


def get_ok(routing_key: bytes) -> tuple[bytes, bytes]:
    return framed(
        1, b"\0\x3c\0\x47" + struct.pack(">QB", 9, 0) + short(b"e") + short(routing_key) + struct.pack(">I", 4)
    )


def returned(routing_key: bytes) -> tuple[bytes, bytes]:
    return framed(1, b"\0\x3c\0\x32" + struct.pack(">H", 312) + short(b"NO_ROUTE") + short(b"e") + short(routing_key))


def message(content: ContentHeader) -> DeliveredMessage:
    return DeliveredMessage(delivery=commands.Basic.Deliver(), header=content, body=b"", channel=None)  # type: ignore[arg-type]


@given(st.binary(min_size=2, max_size=80))
@example(properties((TIMESTAMP, struct.pack(">Q", 1795853786000000))))
@example(properties((CORRELATION_ID, short(b"\xff"))))
@example(properties((PRIORITY, b"\xff"), (CORRELATION_ID, short("é".encode()))))
@example(b"\x10\0")  # a delivery mode that isn't there
def test_a_content_header_of_any_bytes_can_be_decoded_or_says_that_it_could_not(values: bytes) -> None:
    frame = b"".join(header(values))
    try:
        as_it_came = pamqp.frame.unmarshal(frame)[2]
    except Exception:
        as_it_came = None
    mended = Mender()(*header(values))
    number, content = pamqp.frame.unmarshal(mended)[1:]
    assert isinstance(content, ContentHeader)
    assert (number, content.body_size) == (CHANNEL, 5)
    told = undecodable(message(content))
    if isinstance(as_it_came, ContentHeader):
        assert (mended, told) == (frame, None)
    else:
        assert told is not None
        assert told.properties == values
        with pytest.raises(MalformedMessage):
            check_decoded(message(content))


@pytest.mark.parametrize("headers", [{}, {"x-saga-attempt": 2, "traceparent": "00-a-b-01"}])
def test_what_we_publish_passes_as_it_is(headers: dict[str, object]) -> None:
    outgoing = OutgoingMessage(
        body=b"{}", exchange="e", routing_key="r", message_id="m", correlation_id="c", headers=headers
    )
    frames, mend = publish_frames(CHANNEL, outgoing, 1000), Mender()
    while frames:
        size = 7 + int.from_bytes(frames[3:7], "big") + 1
        assert mend(frames[:7], frames[7:size]) == frames[:size]
        frames = frames[size:]


@pytest.mark.parametrize(
    "method", [deliver(b"e", b"order.\xff"), deliver(b"\xff", b"k"), get_ok(b"\xff" * 255), returned(b"\xc3")]
)
def test_a_message_from_a_place_that_is_no_text_is_marked_with_its_properties(method: tuple[bytes, bytes]) -> None:
    mend = Mender()
    _, number, told = pamqp.frame.unmarshal(mend(*method))
    assert number == CHANNEL
    assert "\\x" in told.exchange + told.routing_key  # type: ignore[union-attr]
    if isinstance(told, commands.Basic.GetOk):
        assert (told.delivery_tag, told.message_count) == (9, 4)
    fine = properties((CORRELATION_ID, short(b"c")))
    first, second = (pamqp.frame.unmarshal(mend(*header(fine)))[2] for _ in range(2))
    assert isinstance(first, ContentHeader)
    assert isinstance(second, ContentHeader)
    assert undecodable(message(first)).properties == fine  # type: ignore[union-attr]
    assert undecodable(message(second)) is None  # the next message is another


@given(st.integers(min_value=0, max_value=2**63 - 1), st.text(max_size=60))
def test_a_delivery_from_a_place_that_is_text_passes_as_it_is(tag: int, key: str) -> None:
    method = deliver(b"e", key.encode(), tag)
    mend = Mender()
    assert mend(*method) == b"".join(method)
    assert mend(*header(b"\0\0")) == b"".join(header(b"\0\0"))


def test_nobody_else_can_mark_a_message() -> None:
    told = ContentHeader(properties=commands.Basic.Properties(headers={"x-undecodable": "forged"}))
    assert undecodable(message(told)) is None
