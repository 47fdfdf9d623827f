"""AMQP's own library reads the frames that we write by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from choreography.frames import ack_frame, publish_frames
from choreography.outgoing_message import OutgoingMessage

_LARGEST = 4096  # bytes: the smallest frame size of AMQP, which all properties below fit
_SHORT = st.text(max_size=60)
_HEADERS = st.dictionaries(
    st.text(min_size=1, max_size=20), st.one_of(st.text(max_size=100), st.integers(0, 2**31 - 1)), max_size=3
)


def _read(frames: bytes) -> list[tuple[int, Any]]:
    read = []
    while frames:
        size, number, value = frame.unmarshal(frames)
        read.append((number, value))
        frames = frames[size:]
    return read


@given(
    number=st.integers(1, 65535),
    message=st.builds(
        OutgoingMessage,
        body=st.binary(max_size=50) | st.binary(min_size=1, max_size=50).map(lambda part: part * 300),
        exchange=_SHORT,
        routing_key=_SHORT,
        message_id=st.text(min_size=1, max_size=60),
        correlation_id=st.none() | st.text(min_size=1, max_size=60),
        headers=_HEADERS,
        mandatory=st.booleans(),
        expiration=st.none() | st.floats(0.001, 86_400),
    ),
)
def test_a_published_message_reads_as_it_was_meant(number: int, message: OutgoingMessage) -> None:
    """Method, properties and body come out as they went in, on the channel they were written for."""
    (first, method), (second, header), *parts = _read(publish_frames(number, message, _LARGEST))

    assert {first, second, *(each for each, _ in parts)} == {number}
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory, method.immediate) == (
        message.exchange,
        message.routing_key,
        message.mandatory,
        False,
    )
    assert isinstance(header, ContentHeader)
    properties = header.properties
    assert header.body_size == len(message.body)
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert (properties.message_id, properties.correlation_id) == (message.message_id, message.correlation_id)
    assert (properties.headers or {}) == message.headers
    assert properties.expiration == (None if message.expiration is None else str(int(message.expiration * 1000)))
    assert all(isinstance(part, ContentBody) and 0 < len(part.value) <= _LARGEST for _, part in parts)
    assert b"".join(part.value for _, part in parts) == message.body


def test_what_amqp_cannot_carry_is_refused_before_anything_is_written() -> None:
    with pytest.raises(ValueError, match="300 bytes are too many"):
        publish_frames(1, OutgoingMessage(body=b"", exchange="", routing_key="q", message_id="x" * 300), 256)


@given(number=st.integers(1, 65535), tag=st.integers(1, 2**63 - 1), multiple=st.booleans())
def test_an_acknowledgement_reads_as_it_was_meant(number: int, tag: int, multiple: bool) -> None:
    ((channel, method),) = _read(ack_frame(number, tag, multiple=multiple))
    assert isinstance(method, commands.Basic.Ack)
    assert (channel, method.delivery_tag, method.multiple) == (number, tag, multiple)
