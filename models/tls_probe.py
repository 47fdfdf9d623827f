"""Ask a server that closes protected connections why it does so: drivers lose what it says after the handshake."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_PATIENCE: Final = 2.0  # seconds


def refusal(
    address: tuple[str, int],
    *,
    ca: bytes | None,
    certificate: bytes | None,
    key: bytes | None,
    name: str | None = None,
    protocol: str | None = None,
) -> str:
    """What the server, or our own check of it, finds wrong with a connection; empty if nothing. Blocks for seconds.

    All files are PEM, as bytes. `name` is expected in the server's certificate; by default it is the host.
    """
    context = ssl.create_default_context(cadata=ca.decode() if ca else None)
    if protocol:
        context.set_alpn_protocols([protocol])
    try:
        if certificate and key:
            with _as_file(certificate) as first, _as_file(key) as second:
                context.load_cert_chain(first, second)
        with (
            socket.create_connection(address, timeout=_PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=name or address[0]) as protected,
            suppress(TimeoutError),  # a server that waits for us has nothing against us
        ):
            protected.recv(1)  # in TLS 1.3 the server looks at our certificate after the handshake
    except OSError as error:
        return str(error)
    return ""


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path to this content, which is on no disk."""
    number = os.memfd_create("pem")
    try:
        os.write(number, content)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
