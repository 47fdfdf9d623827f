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

    async def send(self, message: ASGISendEvent) -> None:
        if self.more_body and not self.response_started and self._is_long():
            self.cut_short, self.keep_alive = True, False  # the answer's header tells the client so
            await super().send(message)
            self.keep_alive = True  # the connection ends later, when the client has had time to read the answer
        else:
            await super().send(message)

    def _is_long(self) -> bool:
        length = next((value for name, value in self.scope["headers"] if name == b"content-length"), None)
        return length is None or int(length) > MAX_BODY
