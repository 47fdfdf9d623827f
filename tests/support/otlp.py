"""A small receiver of spans: OTLP over HTTP, as a collector has it, and trees of what it has received."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_BEGINNING = ("CreateOrderRequested", "OrderCreated")
KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span as it was received."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int  # nanoseconds since 1970
    ended: int
    failed: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    links: Sequence[tuple[str, str]] = ()  # trace and span


class Receiver:
    """Keeps the spans that are sent to `url`. `answer` is the status that senders get."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.answer = 200
        self.requests: list[dict[str, str]] = []  # the fields of each
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    @property
    def spans(self) -> list[Span]:
        with self._lock:
            return list(self._spans)

    def take(self, fields: dict[str, str], body: bytes) -> int:
        """Take a request in. Returns the status of the answer."""
        with self._lock:
            self.requests.append(fields)
            if self.answer == 200:
                self._spans += _read(ExportTraceServiceRequest.FromString(body))
            return self.answer

    def of_order(self, order_id: str) -> list[Span]:
        """The spans of the trace in which this order was created. Fails unless that is one trace."""
        spans = self.spans
        begun = {
            span.trace_id
            for span in spans
            if span.attributes.get("saga.order_id") == order_id and span.attributes.get("saga.event_type") in _BEGINNING
        }
        assert len(begun) == 1, f"order {order_id} was created in {len(begun)} traces: {begun}"
        return [span for span in spans if span.trace_id in begun]


def _read(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        about = _attributes(resource.resource.attributes)
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield Span(
                service=str(about["service.name"]),
                name=span.name,
                kind=KINDS[span.kind],
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                began=span.start_time_unix_nano,
                ended=span.end_time_unix_nano,
                failed=span.status.code == 2,
                attributes=_attributes(span.attributes),
                links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
            )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(received.take(dict(self.headers), body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Receiver(server)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield received
        finally:
            server.shutdown()
            serving.join()


def paths(spans: Sequence[Span]) -> Counter[str]:
    """How often each path from the root leads to a span. A tree in a document has the same (`paths_in`)."""
    return _paths(tree(spans))


def paths_in(page: str, title: str) -> Counter[str]:
    """The paths of the tree in a page's block that follows this heading."""
    block = page.partition(f"# {title}\n")[2].partition("```text\n")[2].partition("\n```")[0]
    assert block, f"the page has no tree under {title!r}"
    return _paths(block)


def _paths(tree: str) -> Counter[str]:
    found: Counter[str] = Counter()
    above: list[str] = []
    for line in tree.splitlines():
        name = line.lstrip("│├└─ ")
        above[(len(line) - len(name)) // 3 :] = [name.partition(" +")[0]]
        found[" > ".join(above)] += 1
    return found


def orphans(spans: Sequence[Span]) -> list[Span]:
    """The spans whose parents are not among these."""
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_id and span.parent_id not in known]


def tree(spans: Sequence[Span]) -> str:
    """A trace as a tree, a span a line: its name and its process; `!` if it failed, `+n` for its links elsewhere."""
    return "\n".join(_lines(spans, "", ""))


def _lines(spans: Sequence[Span], parent: str, indent: str) -> Iterator[str]:
    children = sorted((span for span in spans if span.parent_id == parent), key=lambda span: span.began)
    for child in children:
        last = child is children[-1]
        branch, below = ("", "") if not parent else ("└─ ", "   ") if last else ("├─ ", "│  ")
        linked = f" +{len(child.links)}" if child.links else ""
        yield f"{indent}{branch}{child.name} [{child.service}]{' !' if child.failed else ''}{linked}"
        yield from _lines(spans, child.span_id, indent + below)
