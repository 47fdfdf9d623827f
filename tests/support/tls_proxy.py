"""A proxy that ends TLS before a server that speaks none."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from tests.support.certificates import Pair

_CHUNK: Final = 65536  # bytes


class TlsProxy:
    """Takes TLS on a port of loopback, in threads of its own; with a `client_ca`, from its clients alone.

    A client that is refused is told why, as servers do: asyncio would hang up without a word.
    """

    def __init__(self, target_port: int, server: Pair, *, client_ca: Path | None = None) -> None:
        self.target_port = target_port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
        self._context.verify_mode = ssl.CERT_REQUIRED if client_ca else ssl.CERT_NONE
        self._context.load_cert_chain(server.certificate, server.key)
        self._context.set_alpn_protocols(["h2"])  # gRPC asks for it; other protocols ask for none
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        _in_background(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                _in_background(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with (
            suppress(OSError),
            self._context.wrap_socket(client, server_side=True) as protected,
            socket.create_connection(("127.0.0.1", self.target_port)) as server,
        ):
            _in_background(_forward, server, protected)
            _forward(protected, server)


def _in_background(work: object, *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
