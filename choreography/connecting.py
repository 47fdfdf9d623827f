"""Connect to RabbitMQ: to the first node of a cluster that answers, and with what is wrong with TLS said."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from aio_pika.abc import AbstractConnection

from choreography import connection_errors
from choreography.undecodable import connect
from models import tls, tls_probe

_BETWEEN_NODES: Final = re.compile(r"\s*,\s*(?=amqps?://)")  # a password may contain a comma, too
_HEARTBEAT: Final = 10  # seconds; the driver waits for three of them
_FILES: Final = ("cafile", "certfile", "keyfile")


def nodes(url: str) -> tuple[str, ...]:
    """The URLs of a cluster's nodes, in the order in which they are tried. A single broker has one URL."""
    return tuple(_BETWEEN_NODES.split(url))


def unreadable_files(url: str) -> list[str]:
    """Of the files with certificates and keys that a broker's URLs name, those that cannot be read."""
    named = (parse_qs(urlsplit(node).query).get(parameter, []) for node in nodes(url) for parameter in _FILES)
    return sorted({path for paths in named for path in paths if not os.access(path, os.R_OK)})


async def connect_to_any(url: str, *, timeout: float) -> AbstractConnection:
    """A connection to the first node that answers within `timeout` seconds. Raises the error of the last node."""
    for path in unreadable_files(url):
        raise FileNotFoundError(errno.ENOENT, "SAGA_AMQP_URL names this file, and it cannot be read", path)
    *others, last = nodes(url)
    for node in others:
        with suppress(*connection_errors.LOST), connection_errors.named():
            return await connect_to(node, timeout=timeout)
    with connection_errors.named():
        return await connect_to(last, timeout=timeout)


async def connect_to(node: str, **options: Any) -> AbstractConnection:
    """A connection to this node, which is lost after half a minute of silence.

    Raises ConnectionError with what is wrong with TLS, if that is the reason.
    """
    try:
        with connection_errors.named():
            return await connect(node, heartbeat=_HEARTBEAT, **options)
    except connection_errors.LOST as error:
        if node.startswith("amqps:") and tls.BROKER.explain(str(error)) is None:
            told = await asyncio.to_thread(_tls_refusal, node)
            if tls.BROKER.explain(told) is not None:
                raise ConnectionError(told) from error
        raise


def _tls_refusal(node: str) -> str:
    parts = urlsplit(node)
    paths = (parse_qs(parts.query).get(parameter, [""])[0] for parameter in _FILES)
    ca, certificate, key = (Path(path).read_bytes() if path else None for path in paths)
    return tls_probe.refusal((parts.hostname or "", parts.port or 5671), ca=ca, certificate=certificate, key=key)
