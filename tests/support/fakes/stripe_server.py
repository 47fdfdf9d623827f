"""A fake Stripe on loopback, with the endpoints, idempotency keys and test payment methods that we use."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TEST_KEY = "sk_test_fake"
_DECLINES = {
    "pm_card_chargeDeclined": "Your card was declined.",
    "pm_card_chargeDeclinedInsufficientFunds": "Your card has insufficient funds.",
}
_PAYMENT_METHODS = {"pm_card_visa", "pm_timeout_then_approve", "pm_unavailable", *_DECLINES}

Answer = tuple[int, dict[str, Any]]
Handler = Callable[["StripeServer", dict[str, str], Request], Answer]


class StripeServer:
    """It listens as soon as it is made. `intents` and `refunds` are its books, `requests` the requests that it got."""

    def __init__(self) -> None:
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.correlation_ids: list[str | None] = []  # of the requests
        self.failures: list[int] = []  # statuses to answer the next requests with, instead of handling them
        self.refund_status = "succeeded"  # of refunds made from now on
        self.lost: set[str] = set()  # paths whose next answer is lost after it took effect
        self.captures: tuple[int, str] | None = None  # amount and currency that charges capture, not what was asked
        self.refunds_at_most: int | None = None  # of what a refund is asked for
        self.lie: Callable[[str, dict[str, Any]], None] = lambda _path, _answer: None  # changes answers, not the books
        self._answers: dict[str, tuple[str, Answer]] = {}  # by idempotency key: the request's digest, the answer
        self._ids = itertools.count(1)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def forget_keys(self) -> None:
        """Forget all idempotency keys, as Stripe does after 24 hours."""
        self._answers.clear()

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):08d}"

    def _serve(self) -> None:
        with suppress(asyncio.CancelledError):
            self._server.run(sockets=[self._socket])

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/payment_intents", self._endpoint(_create), methods=["POST"]),
                Route("/v1/payment_intents/search", self._endpoint(_search)),
                Route("/v1/payment_intents/{id}", self._endpoint(_retrieve)),
                Route("/v1/payment_intents/{id}/confirm", self._endpoint(_confirm), methods=["POST"]),
                Route("/v1/payment_intents/{id}/cancel", self._endpoint(_cancel), methods=["POST"]),
                Route("/v1/refunds", self._endpoint(_refund), methods=["POST"]),
                Route("/v1/refunds/{id}", self._endpoint(_retrieve_refund)),
            ]
        )

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self.requests.append(f"{request.method} {request.url.path}")
            self.correlation_ids.append(request.headers.get("x-correlation-id"))
            body = (await request.body()).decode() or request.url.query
            if request.headers.get("authorization") != f"Bearer {TEST_KEY}":
                return _json(_error(401, "Invalid API Key provided", type="invalid_request_error"))
            if self.failures:
                return _json(_error(self.failures.pop(0), "Try again", type="api_error"))
            form = dict(parse_qsl(body))
            answer = self._once(request, body, lambda: handler(self, form, request))
            if request.url.path in self.lost:
                self.lost.discard(request.url.path)
                return Response("the upstream closed the connection", status_code=502)
            if form.get("payment_method") == "pm_timeout_then_approve" and answer[1].pop("first", False):
                return Response("the upstream closed the connection", status_code=502)
            told = json.loads(json.dumps(answer[1]))
            self.lie(request.url.path, told)
            return _json((answer[0], told))

        return endpoint

    def _once(self, request: Request, body: str, handle: Callable[[], Answer]) -> Answer:
        key = request.headers.get("idempotency-key")
        if key is None or request.method != "POST":
            return handle()
        digest = f"{request.url.path}?{body}"
        if key not in self._answers:
            answer = handle()
            if answer[0] >= 500 or answer[1].get("error", {}).get("param"):
                return answer  # a request that never began, or failed validation, leaves no answer under its key
            self._answers[key] = (digest, (answer[0], json.loads(json.dumps(answer[1]))))
            self._answers[key][1][1].pop("first", None)
            return answer
        known, answer = self._answers[key]
        if known != digest:
            return _error(400, "Keys can only be used with the same parameters", type="idempotency_error")
        return answer


def _create(server: StripeServer, form: dict[str, str], _: Request) -> Answer:
    if int(form["amount"]) < 50:
        return _error(400, "Amount must be at least 50 cents", code="amount_too_small", param="amount")
    intent_id = server.new_id("pi")
    intent: dict[str, Any] = {
        "id": intent_id,
        "object": "payment_intent",
        "amount": int(form["amount"]),
        "amount_received": 0,
        "currency": form["currency"],
        "metadata": {"payment_id": form["metadata[payment_id]"], "order_id": form["metadata[order_id]"]},
        "status": "requires_payment_method",
        "last_payment_error": None,
        "latest_charge": None,
        "client_secret": "a secret that no log may show",
    }
    server.intents[intent_id] = intent
    return 200, dict(intent)


def _search(server: StripeServer, form: dict[str, str], _: Request) -> Answer:
    match = re.fullmatch(r"metadata\['payment_id'\]:'([0-9a-f-]{36})'", form["query"])
    assert match is not None
    found = [i for i in server.intents.values() if i["metadata"]["payment_id"] == match[1]]
    return 200, {"object": "search_result", "url": "/v1/payment_intents/search", "has_more": False, "data": found}


def _retrieve(server: StripeServer, _: dict[str, str], request: Request) -> Answer:
    intent = server.intents.get(request.path_params["id"])
    return (200, intent) if intent else _error(404, "No such payment_intent", code="resource_missing", param="intent")


def _confirm(server: StripeServer, form: dict[str, str], request: Request) -> Answer:
    intent, method = server.intents[request.path_params["id"]], form["payment_method"]
    if intent["status"] in {"succeeded", "canceled"}:
        return _unexpected_state(intent)
    if method == "pm_unavailable":
        return _error(503, "Try again", type="api_error")
    if method not in _PAYMENT_METHODS:
        message = f"No such PaymentMethod: '{method}'"
        return _error(400, message, code="resource_missing", param="payment_method")
    if method in _DECLINES:
        intent["last_payment_error"] = {"type": "card_error", "code": "card_declined", "message": _DECLINES[method]}
        return _error(402, _DECLINES[method], type="card_error", code="card_declined")
    charge = {"id": server.new_id("ch"), "object": "charge", "refunded": False, "amount_refunded": 0}
    amount, currency = server.captures or (intent["amount"], intent["currency"])
    intent.update(status="succeeded", amount_received=intent["amount_received"] + amount, currency=currency)
    intent["latest_charge"] = charge
    return 200, {**intent, "first": True}


def _cancel(server: StripeServer, _: dict[str, str], request: Request) -> Answer:
    intent = server.intents[request.path_params["id"]]
    if intent["status"] in {"succeeded", "canceled"}:
        return _unexpected_state(intent)
    intent["status"] = "canceled"
    return 200, intent


def _refund(server: StripeServer, form: dict[str, str], _: Request) -> Answer:
    intent = server.intents[form["payment_intent"]]
    charge = intent["latest_charge"]
    if charge is None:
        return _error(400, "This PaymentIntent does not have a successful charge to refund.")
    if charge["refunded"]:
        return _error(400, "Charge has already been refunded.", code="charge_already_refunded")
    left = intent["amount_received"] - charge["amount_refunded"]
    amount = left if server.refunds_at_most is None else min(left, server.refunds_at_most)
    charge.update(amount_refunded=charge["amount_refunded"] + amount, refunded=amount == left)
    refund = {"id": server.new_id("re"), "object": "refund", "amount": amount, "status": server.refund_status}
    server.refunds[refund["id"]] = refund
    return 200, refund


def _retrieve_refund(server: StripeServer, _: dict[str, str], request: Request) -> Answer:
    return 200, server.refunds[request.path_params["id"]]


def _unexpected_state(intent: dict[str, Any]) -> Answer:
    message = f"You cannot do this to a PaymentIntent because it has a status of {intent['status']}."
    return _error(400, message, code="payment_intent_unexpected_state")


def _error(status: int, message: str, *, type: str = "invalid_request_error", **fields: str) -> Answer:
    return status, {"error": {"type": type, "message": message, **fields}}


def _json(answer: Answer) -> Response:
    return JSONResponse(answer[1], status_code=answer[0])
