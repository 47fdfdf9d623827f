"""A process's credentials open what is its own and nothing else, tried with the real ones of a running stack."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import TypeAlias
from uuid import uuid4

import aio_pika
import httpx
import psutil
import psycopg
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource

from choreography.topology import (
    DEAD_LETTER_EXCHANGE,
    INBOXES,
    MIRROR_QUEUE,
    ORDER_QUEUE,
    PAYMENT_QUEUE,
    SHARED_EXCHANGES,
    Topology,
    own_exchange,
)
from models.message_types import ORDERS_EXCHANGE, PAYMENTS_EXCHANGE, ROUTES
from stack.local import Secrets
from tests.support.stack import Stack

Attempt: TypeAlias = Callable[[AbstractChannel], Awaitable[object]]

INBOX = {"order": ORDER_QUEUE, "payment": PAYMENT_QUEUE, "worker": MIRROR_QUEUE}
PROCESSES = ("order", "payment", "gateway", "worker")
COMMANDS = {"order.create.requested", "order.cancel.requested"}
MAY_PUBLISH = {
    "order": {"order.created", "order.cancelled", "order.paid", "order.failed"},
    "payment": {
        *("payment.approved", "payment.declined", "payment.failed", "payment.cancelled", "payment.refunded"),
    },
    "gateway": COMMANDS,
    "worker": set[str](),
}
MAY_HEAR = {
    "order": {*COMMANDS, "payment.approved", "payment.declined", "payment.failed"},
    "payment": {"order.created", "order.cancelled"},
    "gateway": {"order.*", "payment.*"},
    "worker": {"order.*", "payment.*"},
}
KEYS = {(route.exchange, route.routing_key) for route in ROUTES.values()}
WIDE = {(exchange, key) for exchange in SHARED_EXCHANGES for key in ("#", "*.*", "order.*", "payment.*", "order.#")}
OWNERS = {ORDERS_EXCHANGE: "order", PAYMENTS_EXCHANGE: "payment"}


def environment(stack: Stack, process: str) -> Mapping[str, str]:
    """What the running process was given."""
    pids = {each["name"]: each["pid"] for each in stack.json("status")["processes"]}
    return psutil.Process(pids[process]).environ()


def attempted(stack: Stack, process: str, attempts: Mapping[str, Attempt]) -> dict[str, str]:
    """What became of each attempt with the broker's credentials of a process: `done` or `refused`."""

    async def one(connection: aio_pika.abc.AbstractConnection, attempt: Attempt) -> str:
        channel = await connection.channel(publisher_confirms=True)
        try:
            await attempt(channel)
            await channel.close()
        except (ChannelAccessRefused, ChannelLockedResource):
            return "refused"
        return "done"

    async def all_of_them() -> dict[str, str]:
        async with await aio_pika.connect(environment(stack, process)["SAGA_AMQP_URL"]) as connection:
            return {what: await one(connection, attempt) for what, attempt in attempts.items()}

    return asyncio.run(all_of_them())


async def publish(channel: AbstractChannel, *, exchange: str, key: str) -> None:
    underlay = await channel.get_underlay_channel()
    await underlay.basic_publish(b"{}", exchange=exchange, routing_key=key, mandatory=False, timeout=10)


async def read(channel: AbstractChannel, *, queue: str) -> None:
    await (await channel.get_underlay_channel()).basic_get(queue)


async def consume(channel: AbstractChannel, *, queue: str) -> None:
    async def ignore(_: object) -> None:
        """Nothing may come."""

    await (await channel.get_underlay_channel()).basic_consume(queue, ignore)


async def purge(channel: AbstractChannel, *, queue: str) -> None:
    await (await channel.get_underlay_channel()).queue_purge(queue)


async def delete(channel: AbstractChannel, *, queue: str) -> None:
    await (await channel.get_underlay_channel()).queue_delete(queue)


async def declare(channel: AbstractChannel, *, queue: str, arguments: Mapping[str, str] | None = None) -> None:
    await (await channel.get_underlay_channel()).queue_declare(queue, durable=True, arguments=dict(arguments or {}))


async def declare_exchange(channel: AbstractChannel, *, exchange: str) -> None:
    await (await channel.get_underlay_channel()).exchange_declare(exchange, exchange_type="topic", durable=True)


async def delete_exchange(channel: AbstractChannel, *, exchange: str) -> None:
    await (await channel.get_underlay_channel()).exchange_delete(exchange)


async def bind(channel: AbstractChannel, *, queue: str, exchange: str, key: str) -> None:
    await (await channel.get_underlay_channel()).queue_bind(queue, exchange, key)


def own_queue(process: str) -> str:
    return f"{INBOX.get(process, 'gateway-feed')}.{uuid4().hex}"


def others_queues(process: str) -> Iterator[str]:
    own = INBOX.get(process)
    for queue in Topology(reads=tuple(inbox for inbox in INBOXES if inbox != own), retry_delays=(0.2, 0.4)).queues:
        yield queue.name


@pytest.mark.parametrize("process", PROCESSES)
def test_the_queues_of_others_are_closed(stack: Stack, process: str) -> None:
    acts = {"read": read, "consume": consume, "purge": purge, "delete": delete, "declare": declare}
    attempts: dict[str, Attempt] = {
        f"{name} {queue}": partial(act, queue=queue) for queue in others_queues(process) for name, act in acts.items()
    }
    found = attempted(stack, process, attempts)
    assert len(found) >= 5 * 6
    assert {what for what, became in found.items() if became == "done"} == set()


@pytest.mark.parametrize("process", PROCESSES)
def test_what_is_another_process_s_to_say_is_refused(stack: Stack, process: str) -> None:
    """That what is its own to say is let through, every order of this stack shows."""
    others = [inbox for inbox in INBOXES if inbox != INBOX.get(process)]
    ways = {(exchange, key) for exchange, key in KEYS if key not in MAY_PUBLISH[process]}
    ways |= {("", queue) for queue in others_queues(process)}  # the default exchange leads into every queue
    ways |= {(own_exchange(other), other) for other in others}
    ways |= {(DEAD_LETTER_EXCHANGE, other) for other in others}
    ways |= {("amq.topic", "order.created"), ("amq.direct", ORDER_QUEUE), ("amq.fanout", "")}
    attempts: dict[str, Attempt] = {
        f"{exchange} {key}": partial(publish, exchange=exchange, key=key) for exchange, key in ways
    }
    assert attempted(stack, process, attempts) == dict.fromkeys(attempts, "refused")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_hears_what_is_for_it_and_nothing_else(stack: Stack, process: str) -> None:
    queue = own_queue(process)
    keys = KEYS | WIDE | {(DEAD_LETTER_EXCHANGE, inbox) for inbox in INBOXES}
    attempts: dict[str, Attempt] = {"declare": partial(declare, queue=queue)}
    attempts |= {f"{exchange} {key}": partial(bind, queue=queue, exchange=exchange, key=key) for exchange, key in keys}
    attempts |= {"delete": partial(delete, queue=queue)}

    def may(exchange: str, key: str) -> bool:
        if exchange == DEAD_LETTER_EXCHANGE:
            return key == INBOX.get(process)
        return key in MAY_HEAR[process] and exchange.startswith(key.split(".")[0])

    wanted = {f"{exchange} {key}": "done" if may(exchange, key) else "refused" for exchange, key in keys}
    assert attempted(stack, process, attempts) == {"declare": "done", **wanted, "delete": "done"}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_declares_and_deletes_its_own_exchanges_alone(stack: Stack, process: str) -> None:
    strange = ["amq.topic", "another.exchange"]
    others = [name for name in SHARED_EXCHANGES if OWNERS.get(name) != process]
    others += [own_exchange(inbox) for inbox in INBOXES if inbox != INBOX.get(process)]
    attempts: dict[str, Attempt] = {f"delete {each}": partial(delete_exchange, exchange=each) for each in others}
    attempts |= {f"declare {each}": partial(declare_exchange, exchange=each) for each in (*others, *strange)}
    assert attempted(stack, process, attempts) == dict.fromkeys(attempts, "refused")


@pytest.mark.parametrize("process", PROCESSES)
def test_no_queue_of_a_process_s_own_leads_into_another_s_inbox(stack: Stack, process: str) -> None:
    """RabbitMQ asks no topic permission of a queue that sends on what expires in it."""
    ways = ["", *(own_exchange(inbox) for inbox in INBOXES if inbox != INBOX.get(process))]
    ways += [exchange for exchange, owner in OWNERS.items() if owner != process and process != "gateway"]
    attempts: dict[str, Attempt] = {
        f"by {exchange!r}": partial(
            declare, queue=own_queue(process), arguments={"x-dead-letter-exchange": exchange, "x-queue-type": "quorum"}
        )
        for exchange in ways
    }
    assert attempted(stack, process, attempts) == dict.fromkeys(attempts, "refused")


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_reaches_the_broker_s_administration(stack: Stack, process: str) -> None:
    login = environment(stack, process)["SAGA_AMQP_URL"].split("//")[1].split("@")[0]
    user, _, password = login.partition(":")
    answer = httpx.get(f"{stack.urls['rabbitmq_ui']}/api/queues", auth=(user, password), timeout=10)
    assert answer.status_code == 401, answer.text


def test_a_stolen_payment_service_opens_nothing_of_the_orders(stack: Stack) -> None:
    """Nothing that the process was given opens the order service, its database, or the gateway's commands."""
    stolen = environment(stack, "payment")
    assert not any("ORDERS_DATABASE" in name for name in stolen)
    with closing(psycopg.connect(stolen["SAGA_PAYMENTS_DATABASE_URL"], autocommit=True)) as connection:
        role = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        assert role == (False,) * 5
        (owner,) = connection.execute(
            "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
        ).fetchone() or ("",)
        assert owner == "postgres"
        assert connection.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole"
        ).fetchone() == (0,)
        for statement in (
            "ALTER DATABASE payments CONNECTION LIMIT 0",
            "GRANT CONNECT ON DATABASE orders TO payments",
            "CREATE DATABASE mine",
            "CREATE ROLE me SUPERUSER",
            "CREATE SCHEMA mine",
            "SELECT * FROM pg_authid",
            "SELECT pg_read_file('pg_hba.conf')",
            "COPY (SELECT 1) TO PROGRAM 'cat'",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                connection.execute(statement)
    for database in ("orders", "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(stolen["SAGA_PAYMENTS_DATABASE_URL"].removesuffix("payments") + database)
    order_service = {each["name"]: each["port"] for each in stack.json("status")["processes"]}["order"]
    token = stolen["SAGA_INTERNAL_TOKEN"]
    for shown in (token, token.partition(":")[2], Secrets.of(stack.data).broker):
        headers = {"Authorization": f"Bearer {shown}"}
        assert httpx.get(f"http://127.0.0.1:{order_service}/orders", headers=headers, timeout=10).status_code == 401


def test_only_the_gateway_holds_the_internal_token(stack: Stack) -> None:
    """The others hold a digest of the token, which recognises it and opens nothing."""
    token = Secrets.of(stack.data).internal_token
    digest = f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    held = {process: environment(stack, process)["SAGA_INTERNAL_TOKEN"] for process in PROCESSES}
    assert held == {"order": digest, "payment": digest, "worker": digest, "gateway": token}


def test_no_process_holds_a_password_that_is_not_its_own(stack: Stack) -> None:
    secrets = Secrets.of(stack.data)
    own = {"order": {secrets.orders}, "payment": {secrets.payments}, "gateway": {secrets.internal_token}}
    known = {secrets.orders, secrets.payments, secrets.broker, secrets.cookie, secrets.internal_token}
    users = {process: secrets.of_broker_user(process) for process in PROCESSES}
    for process in PROCESSES:
        held = " ".join(environment(stack, process).values())
        found = {secret for secret in (*known, *users.values()) if secret in held}
        assert found == {users[process], *own.get(process, set())}
