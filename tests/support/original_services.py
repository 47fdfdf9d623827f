"""Doubles of the original gateway and services, written from what was seen of them; nothing of their code is here.

They publish without persistence, with the correlation id as a property of the message alone, or nowhere. A message that
cannot be handled goes to `dlx.exchange`. Neither service knows a duplicate when it sees one. A service that is stopped
in the middle of a message does nothing more about it.

What was seen differs between versions, or was not seen at all. It is in a service's `Wiring`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import aio_pika
import httpx
import psycopg
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pamqp.common import FieldTable

from tests.support import http
from tests.support.original_databases import OriginalDatabases
from tests.support.waiting import until
from tests.support.world import World

DECLINED: Final = 4  # the last digit of a total whose charge is declined
Queues: TypeAlias = Mapping[str, tuple[str, ...]]  # the routing keys that are bound to each
# The names in the newest version. Those of earlier versions differ.
QUEUES: Final[Mapping[str, Queues]] = {
    "order": {
        "order.create.queue": ("order.create.requested",),
        "order.cancel-requested.queue": ("order.cancel.requested",),
        "order.payment-result.queue": ("payment.approved", "payment.declined", "payment.failed"),
    },
    "payment": {
        "payment.order-created.queue": ("order.created",),
        "payment.order-cancelled.queue": ("order.cancelled",),
    },
}
Reply = tuple[int, Any]


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What differs between the versions of an original service, or is not known."""

    queues: Queues | None = None  # None: as in QUEUES
    dead_letter_queues: bool = True  # whether each queue has one, so that its dead letters are kept
    acknowledges_first: bool = False  # before it handles a message; what it was at is lost when it stops
    charge_takes: float = 0.0  # seconds


class Stopped(Exception):
    """The service is stopped in the middle of a message."""


class _Server:
    """A web server whose answers are made by `answer(method, path, query, body)`."""

    def __init__(self, answer: Callable[[str, str, dict[str, str], dict[str, Any]], Reply]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                status, content = answer(self.command, url.path, query, body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                self.do_GET()

            def do_PATCH(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Service:
    """What both share: queues with dead-letter settings, messages one at a time, and a read API open to all."""

    name: str
    kind: str
    table: str

    def __init__(self, world: World, databases: OriginalDatabases, wiring: Wiring | None = None) -> None:
        self._world = world
        self._databases = databases
        self.wiring = wiring or Wiring()
        self.dead_letters: list[str] = []

    def __enter__(self) -> Self:
        self._web = _Server(self.answer)
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._consume()), daemon=True)
        self._thread.start()
        until(self._ready.is_set, what=f"the original {self.name} service listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._web.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._web.port}"

    @property
    def queues(self) -> Queues:
        return QUEUES[self.name] if self.wiring.queues is None else self.wiring.queues

    @property
    def queue_names(self) -> list[str]:
        """All that it declares."""
        kept = [dead_letter_queue(queue) for queue in self.queues] if self.wiring.dead_letter_queues else []
        return [*self.queues, *kept]

    async def _consume(self) -> None:
        async with await aio_pika.connect(self._world.amqp_url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1)
            for exchange in ("orders.exchange", "payments.exchange", "dlx.exchange"):
                await channel.declare_exchange(exchange, "topic", durable=True)
            for queue, keys in self.queues.items():
                kept = dead_letter_queue(queue)
                dead_letters: FieldTable = {
                    "x-dead-letter-exchange": "dlx.exchange",
                    "x-dead-letter-routing-key": kept,
                }
                if self.wiring.dead_letter_queues:
                    await (await channel.declare_queue(kept, durable=True)).bind("dlx.exchange", kept)
                declared = await channel.declare_queue(queue, durable=True, arguments=dead_letters)
                for key in keys:
                    await declared.bind(f"{key.split('.')[0]}s.exchange", key)
                await declared.consume(partial(self._take, channel))
            self._ready.set()
            await asyncio.to_thread(self._stop.wait)

    async def _take(self, channel: AbstractChannel, message: AbstractIncomingMessage) -> None:
        async with message.process(requeue=False, ignore_processed=True):
            document = json.loads(message.body)
            if self.wiring.acknowledges_first:
                await message.ack()
            try:
                events = await asyncio.to_thread(self.handle, message.routing_key or "", document["payload"])
            except LookupError as unknown:
                self.dead_letters.append(f"{message.routing_key}: {unknown}")
                if not self.wiring.acknowledges_first:
                    await message.reject(requeue=False)
                return
            except Stopped:
                await asyncio.Event().wait()  # the connection is closed meanwhile, and the broker has it again
            for key, event_type, payload in events:
                await publish(channel, key, event_type, payload, correlation_id=message.correlation_id)

    def handle(self, routing_key: str, payload: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        """Change the database, and answer with the events to publish. Raises LookupError: a dead letter."""
        raise NotImplementedError

    def answer(self, _method: str, path: str, query: dict[str, str], _body: dict[str, Any]) -> Reply:
        """Reads alone. Filters are ignored."""
        rows = [self.row(each) for each in self._databases.execute(self.kind, self._newest)]
        match path.strip("/").split("/"):
            case [self.kind]:
                page, limit = int(query.get("page", 1)), int(query.get("limit", 10))
                meta = {"page": page, "limit": limit, "total": len(rows), "totalPages": -(-len(rows) // limit)}
                return 200, {"data": rows[(page - 1) * limit : page * limit], "meta": meta}
            case [self.kind, "stats"]:
                counts, sums = Counter[str](), Counter[str]()
                for row in rows:
                    counts[row["status"]] += 1
                    sums[row["status"]] += row["amount"]
                told = [{"status": each, "count": counts[each], "totalAmount": sums[each]} for each in counts]
                return 200, {"byStatus": told}
            case [self.kind, *field, wanted]:
                found = [row for row in rows if row["orderId" if field else "id"] == wanted]
                return (200, found[0]) if found else (404, {"message": "Not found", "statusCode": 404})
        return 404, {"message": "Not found", "statusCode": 404}

    @property
    def _newest(self) -> str:
        return f'SELECT * FROM "{self.table}" ORDER BY "createdAt" DESC'

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        times = {name: f"{row[name].isoformat(timespec='milliseconds')}Z" for name in ("createdAt", "updatedAt")}
        return {**row, **times}

    def take(self, seconds: float) -> None:
        """Be busy for so long. Raises Stopped."""
        if self._stop.wait(seconds):
            raise Stopped

    def _become(self, order_id: str, status: str, *, of: Sequence[str]) -> bool:
        """Whether the row had one of the statuses `of`, from which it has got its new one."""
        key = "id" if self.kind == "orders" else "orderId"
        changed = f"""UPDATE "{self.table}" SET status = %s, "updatedAt" = now()
            WHERE "{key}" = %s AND status::text = ANY(%s) RETURNING 1"""
        return bool(self._databases.execute(self.kind, changed, status, order_id, list(of)))


class OriginalOrderService(_Service):
    """Mints its orders' ids, follows payments in silence, has declined orders FAILED, and calls them cancelled."""

    name, kind, table = "order", "orders", "Order"

    def handle(self, routing_key: str, payload: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        if routing_key == "order.create.requested":
            order_id = self._databases.add_order("PENDING_PAYMENT", total=payload["total"])
            its_user = 'UPDATE "Order" SET "userId" = %s WHERE "id" = %s'
            self._databases.execute("orders", its_user, payload["userId"], order_id)
            created = {"orderId": order_id, "userId": payload["userId"], "total": payload["total"]}
            return [("order.created", "OrderCreated", created)]
        order_id = payload["orderId"]
        if not self._databases.execute("orders", 'SELECT 1 FROM "Order" WHERE "id" = %s', order_id):
            raise LookupError(order_id)
        pending = ["PENDING_PAYMENT"]
        match routing_key:
            case "payment.approved":
                self._become(order_id, "PAID", of=pending)
            case "payment.failed":
                self._become(order_id, "FAILED", of=pending)
            case "payment.declined" if self._become(order_id, "FAILED", of=pending):
                return [_cancelled(order_id, "PAYMENT_DECLINED")]
            case "order.cancel.requested" if self._become(order_id, "CANCELLED", of=[*pending, "PAID"]):
                return [_cancelled(order_id, "USER_REQUESTED")]
        return []


class OriginalPaymentService(_Service):
    """Charges whatever it is told of, as often as it is told, and cancels or refunds in silence.

    `charged` counts how often each order was charged. A payment that is cancelled while it is charged is DECLINED.
    """

    name, kind, table = "payment", "payments", "Payment"

    def __init__(self, world: World, databases: OriginalDatabases, wiring: Wiring | None = None) -> None:
        super().__init__(world, databases, wiring)
        self.charged: Counter[str] = Counter()

    def handle(self, routing_key: str, payload: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
        order_id = payload["orderId"]
        if routing_key == "order.created":
            return self._charge(order_id, payload["total"])
        if not self._become(order_id, "DECLINED", of=["PROCESSING"]):
            self._become(order_id, "REFUNDED", of=["APPROVED"])
        return []

    def _charge(self, order_id: str, total: int) -> list[tuple[str, str, dict[str, Any]]]:
        status = "APPROVED" if total % 10 != DECLINED else "DECLINED"
        try:
            self._databases.add_payment(order_id, "PROCESSING", amount=total)
        except psycopg.errors.UniqueViolation:
            self.take(self.wiring.charge_takes)  # it charges all the same
            self._become(order_id, status, of=["PROCESSING"])
        else:
            self.take(self.wiring.charge_takes)
            if not self._become(order_id, status, of=["PROCESSING"]):
                return []  # cancelled meanwhile
        self.charged[order_id] += status == "APPROVED"
        told = {"transactionId": str(uuid4())} if status == "APPROVED" else {"reason": "Insufficient funds"}
        return [(f"payment.{status.lower()}", f"Payment{status.title()}", {"orderId": order_id, **told})]


class OriginalGateway:
    """Publishes commands without an order id, asks each service at its URL, and answers every error with 408."""

    def __init__(self, world: World, *, order_url: str, payment_url: str) -> None:
        self._world = world
        self.urls = {"orders": order_url, "payments": payment_url}

    def __enter__(self) -> Self:
        self._client = http.client(timeout=10)
        self._web = _Server(self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        self._web.close()
        self._client.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._client.request(method, f"http://127.0.0.1:{self._web.port}/api{path}", **options)

    def _answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Reply:
        path = path.removeprefix("/api")
        match method, path.strip("/").split("/"):
            case "POST", ["orders"]:
                self._send("order.create.requested", "CreateOrderRequested", body)
                message = "Order creation request accepted"
                return 202, {"orderId": str(uuid4()), "message": message, "status": "PENDING_PAYMENT"}
            case "PATCH", ["orders", order_id, *_]:
                self._send("order.cancel.requested", "OrderCancelRequested", {"orderId": order_id})
                return 202, {"orderId": order_id, "message": "Order cancellation request accepted"}
            case "GET", [kind, *_] if kind in self.urls:
                url = urlsplit(self.urls[kind])
                shown = b64encode(f"{url.username or ''}:{url.password or ''}".encode()).decode()
                headers = {"Authorization": f"Basic {shown}"} if url.password else {}
                found = self._client.get(f"http://127.0.0.1:{url.port}{path}", params=query, headers=headers)
                if found.status_code == 200:
                    return 200, found.json()
        return 408, {"message": "Request timeout", "statusCode": 408}

    def _send(self, key: str, event_type: str, payload: Mapping[str, Any]) -> None:
        self._world.amqp(lambda channel: publish(channel, key, event_type, payload, correlation_id=None))


def dead_letter_queue(queue: str) -> str:
    return f"{queue.removesuffix('.queue')}.dlq"


async def publish(
    channel: AbstractChannel, key: str, event_type: str, payload: Mapping[str, Any], *, correlation_id: str | None
) -> None:
    """Publish as the original services do: not persistent, and to whoever listens."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"eventId": str(uuid4()), "occurredAt": at, "payload": payload, "eventType": event_type}
    exchange = await channel.get_exchange(f"{key.split('.')[0]}s.exchange", ensure=False)
    message = aio_pika.Message(json.dumps(document).encode(), correlation_id=correlation_id)
    await exchange.publish(message, key, mandatory=False)


def _cancelled(order_id: str, reason: str) -> tuple[str, str, dict[str, Any]]:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return "order.cancelled", "OrderCancelled", {"orderId": order_id, "reason": reason, "cancelledAt": at}
