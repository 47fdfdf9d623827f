"""A TCP proxy that cuts, resets and delays the connections that lead through it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.support.ports import free_port

_CHUNK = 65536  # bytes
# Closing sends a reset instead of what is still buffered (socket(7), SO_LINGER).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards its own port to another one on loopback, in a thread of its own, until it is closed."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._delay = 0.0
        self._hanging_up = False
        self._muted = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.heal()

    def heal(self) -> None:
        """Accept connections, and forward at once."""
        self._muted = False
        self._delay = 0.0
        self._hanging_up = False
        self._run(self._listen())

    def cut(self) -> None:
        """Reset all connections and refuse new ones until healed."""
        self._run(self._refuse())
        self.reset()

    def reset(self) -> None:
        """Reset all connections; new ones are welcome."""
        self._run(self._reset())

    def hang_up(self) -> None:
        """Reset all connections; accept new ones and close them at once, until healed."""
        self._hanging_up = True
        self.reset()

    def delay(self, seconds: float) -> None:
        """Delay all bytes, both ways, until healed."""
        self._delay = seconds

    def mute(self) -> None:
        """Lose what the server says, until healed; it still hears everything. Connections must be reset then."""
        self._muted = True

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def leading_to(self, url: str) -> str:
        """The same URL by way of this proxy."""
        parts = urlsplit(url)
        access = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{access}@127.0.0.1:{self.port}"))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset(self) -> None:
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._hanging_up:
            writer.transport.abort()
            return
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._forward(reader, back), self._forward(onward, writer, may_be_muted=True))
        finally:
            self._open -= {writer, back}

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_be_muted: bool = False
    ) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if may_be_muted and self._muted:
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # so that the other direction ends, too
        finally:
            writer.close()
