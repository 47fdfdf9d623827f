"""Answer one request, and end the connection later if the client may still be sending a body that is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api.edge import MAX_BODY

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class RequestCycle(RequestResponseCycle):
    """A request and its answer."""

    cut_short = False  # whether the answer is complete, and a request that may be too long is not
    _to_the_end = False  # whether the answer ends with the connection, since its client knows no chunks

    async def send(self, message: ASGISendEvent) -> None:
        if self.scope["http_version"] == "1.0":
            self._send_without_chunks(message)
        if self.more_body and not self.response_started and self._is_long():
            self.cut_short, self.keep_alive = True, False  # the answer's header tells the client so
            await super().send(message)
            self.keep_alive = True  # the connection ends later, when the client has had time to read the answer
        else:
            await super().send(message)

    def _send_without_chunks(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            if all(name.lower() != b"content-length" for name, _ in message["headers"]):
                self.chunked_encoding, self._to_the_end = False, True
        elif self._to_the_end and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))

    def _is_long(self) -> bool:
        length = next((value for name, value in self.scope["headers"] if name == b"content-length"), None)
        return length is None or int(length) > MAX_BODY
