"""A cluster of three RabbitMQ nodes loses a node under load, and no order and no money with it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import aio_pika
import httpx
import pytest

from choreography.declaring import declare
from choreography.topology import INBOXES, ORDER_QUEUE, Topology
from embedded import rabbitmq
from embedded.log_files import LogFile
from embedded.ports import LOOPBACK
from embedded.program import Program, spawn
from stack import local
from stack.addresses import Ports
from tests.chaos.load import sales
from tests.chaos.system import PROCESSES, SETTINGS
from tests.support.load import Load
from tests.support.ports import OFFSET
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.world import Servers, World

NODES: Final = ("saga1@localhost", "saga2@localhost", "saga3@localhost")
EPMD_PORT: Final = 4369 + OFFSET
ORDERS: Final = 400
SECONDS: Final = 40.0  # over which the orders are spread
CONNECTIONS: Final = 7  # two of each service and of the gateway, one of the worker
TOPOLOGY: Final = Topology(reads=INBOXES, retry_delays=tuple(map(float, SETTINGS["SAGA_RETRY_DELAYS"].split(","))))
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


async def _prepare(program: Program) -> None:
    if program.prepare:
        await program.prepare()


class Cluster:
    """Three nodes on loopback, each with ports and data of its own, killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secrets = local.Secrets.of(folder)
        self._env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "ERL_EPMD_PORT": str(EPMD_PORT)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # One name server for all nodes. Private nodes need none, since they find each other at one fixed port.
        self._epmd = spawn(
            Program(
                name="epmd",
                argv=("epmd", "-address", LOOPBACK, "-port", str(EPMD_PORT)),
                env=self._env,
                cwd=folder,
                ports={"epmd": EPMD_PORT},
                ready=lambda: True,
                alive=lambda: True,
            ),
            LogFile(folder / "epmd.log"),
        )

    def start(self, node: str) -> None:
        """Start a node, and return when it is part of the cluster; a new one joins the first."""
        program = self._program(node)
        asyncio.run(_prepare(program))
        self._processes[node] = spawn(program, LogFile(self._folder / f"{node}.log"))

        def ready() -> bool:
            assert self._processes[node].poll() is None, f"{node} has ended: {self.log(node)[-2000:]}"
            return program.ready() and node in self.running(seen_by=node)

        until(ready, within=240, what=f"{node} is ready")

    def kill(self, node: str) -> None:
        """Kill -9."""
        self._processes[node].kill()
        self._processes[node].wait()

    def close(self) -> None:
        for process in (*self._processes.values(), self._epmd):
            process.kill()
            process.wait()

    def url(self, node: str) -> str:
        return f"amqp://{rabbitmq.USER}:{self._secrets.broker}@{LOOPBACK}:{self._ports(node).amqp}/"

    def api(self, node: str) -> str:
        return f"http://{rabbitmq.USER}:{self._secrets.broker}@{LOOPBACK}:{self._ports(node).rabbitmq_ui}/api"

    def ask(self, node: str, path: str) -> Any:
        """The answer of a node's management API. Raises ConnectionError while the node gives none."""
        try:
            answer = httpx.get(f"{self.api(node)}/{path}", timeout=10)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ConnectionError(f"{node}, {path}: {error!r}") from error
        return answer.json()

    def running(self, *, seen_by: str) -> list[str]:
        return [each["name"] for each in self.ask(seen_by, "nodes") if each["running"]]

    def log(self, node: str) -> str:
        return (self._folder / f"{node}.log").read_text(errors="replace")

    def _ports(self, node: str) -> Ports:
        return Ports.shifted(OFFSET + 1 + NODES.index(node))

    def _program(self, node: str) -> Program:
        ports = self._ports(node)
        data = self._folder / node
        data.mkdir(exist_ok=True)
        program = rabbitmq.program(
            data=data,
            amqp=ports.amqp,
            ui=ports.rabbitmq_ui,
            behind=LOOPBACK,
            distribution=ports.rabbitmq_distribution,
            password=self._secrets.broker,
            cookie=self._secrets.cookie,
            definitions=local.broker_definitions(self._secrets),
            env=self._env,
        )
        return replace(program, env={**program.env, **_clustered(node, ports.rabbitmq_distribution)})


def _clustered(node: str, distribution: int) -> Mapping[str, str]:
    """The settings that differ from a private node's: the name, the port, and the node to join."""
    erlang = (
        f"-sname {node} -start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}} "
        f"-kernel inet_dist_listen_min {distribution} -kernel inet_dist_listen_max {distribution} "
        # The time after which RabbitMQ sends a retry again whose queue lost its leader. The default is 3 minutes.
        "-rabbit dead_letter_worker_publisher_confirm_timeout 3000"
    )
    joins = "" if node == NODES[0] else f" -rabbit cluster_nodes {{[{NODES[0]},{node}],disc}}"
    return {"RABBITMQ_NODENAME": node, "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang + joins}


class Queues:
    """The queues of one world: their leaders, their members, and the node that their clients are connected to."""

    def __init__(self, cluster: Cluster, vhost: str) -> None:
        self._cluster = cluster
        self._vhost = vhost

    def leader(self, queue: str, *, seen_by: str) -> str:
        """The node that leads a queue. Empty during an election."""
        return str(self._cluster.ask(seen_by, f"queues/{self._vhost}/{queue}").get("leader") or "")

    def clients_node(self, *, seen_by: str) -> str:
        """The node that all clients are connected to."""
        connections = self._cluster.ask(seen_by, f"vhosts/{self._vhost}/connections")
        places = {each["node"] for each in connections}
        assert len(connections) >= CONNECTIONS, f"{len(connections)} connections are known"
        assert len(places) == 1, places
        return str(places.pop())

    def all_complete(self) -> bool:
        """Whether every queue of the topology has three members, all of them online."""
        told = self._cluster.ask(NODES[0], f"queues/{self._vhost}")
        found = {
            each["name"]: [each["type"], *(sorted(each.get(k, ())) for k in ("members", "online"))] for each in told
        }
        assert found == {queue.name: ["quorum", [*NODES], [*NODES]] for queue in TOPOLOGY.queues}, found
        return True


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        for node in NODES:  # one after the other: two nodes that join at once may miss each other
            cluster.start(node)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def world(servers: Servers, cluster: Cluster, temporal: TemporalServer, tmp_path: Path) -> Iterator[World]:
    """One of every process, connected to the second node. The first node leads all queues, the third does nothing."""
    world = World(replace(servers, amqp_url=cluster.url(NODES[0]), rabbitmq_api=cluster.api(NODES[0])), tmp_path)
    try:
        asyncio.run(_declare(world.amqp_url))
        first, *others = (f"{cluster.url(node)}{world.name}" for node in NODES)
        world.amqp_url = ",".join((*others, first))
        world.env |= SETTINGS | {"SAGA_AMQP_URL": world.amqp_url, "SAGA_TEMPORAL_ADDRESS": temporal.address}
        world.start(*PROCESSES)
        yield world
    finally:
        world.close()


async def _declare(url: str) -> None:
    """Declare all queues: a queue is led by the node that its first client is connected to."""
    async with await aio_pika.connect(url) as connection:
        await declare(await connection.channel(), TOPOLOGY)


@contextmanager
def load(world: World) -> Iterator[Load]:
    """Place orders of both coordinators in the background. In the end all are accepted and no answer was wrong."""
    load = Load([f"http://127.0.0.1:{world.ports['gateway']}"], patient=True, timeout=5)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load.run, sales(ORDERS, random=Random(5)), rate=ORDERS / SECONDS)
        yield load
        loading.result(timeout=120)
    assert (len(load.accepted), load.wrong) == (ORDERS, {})


def test_a_leader_killed_in_mid_load_loses_nothing(world: World, cluster: Cluster) -> None:
    queues = Queues(cluster, world.name)
    until(queues.all_complete, what="every queue has three members")
    with load(world) as orders:
        until(lambda: len(orders.accepted) > ORDERS // 5, what="the load has begun")
        leader = until(lambda: queues.leader(ORDER_QUEUE, seen_by=NODES[2]), what="somebody leads")
        connected = until(lambda: queues.clients_node(seen_by=NODES[2]), what="all clients are known")
        assert connected != leader, "it is another node that is to be lost here"
        cluster.kill(leader)
        until(lambda: queues.leader(ORDER_QUEUE, seen_by=NODES[2]) not in (leader, ""), what="another node leads")
        goes_on(orders)
        cluster.start(leader)
    all_well(world, queues, orders)
    assert world.log("order").count('"event": "broker_connected"') == 2, "nobody had to connect anew"


def test_the_node_that_all_are_connected_to_killed_in_mid_load_loses_nothing(world: World, cluster: Cluster) -> None:
    queues = Queues(cluster, world.name)
    until(queues.all_complete, what="every queue has three members")
    with load(world) as orders:
        until(lambda: len(orders.accepted) > ORDERS // 5, what="the load has begun")
        lost = until(lambda: queues.clients_node(seen_by=NODES[0]), what="all clients are known")
        cluster.kill(lost)
        for name in PROCESSES:
            world.wait_ready(name)
        until(lambda: queues.clients_node(seen_by=NODES[0]) == NODES[2], what="all are connected to the next node")
        assert world.dead_letters() == [], "an operator reaches the next node, too"
        goes_on(orders)
        cluster.start(lost)
    all_well(world, queues, orders)


def goes_on(orders: Load) -> None:
    sofar = len(orders.accepted)
    until(lambda: len(orders.accepted) > sofar + 30, what="orders are accepted")


def all_well(world: World, queues: Queues, orders: Load) -> None:
    """Every order has ended, the provider's books agree, and every queue has all its members again."""
    world.wait_at_rest(orders.accepted, within=240)
    until(lambda: world.waiting_for_mirrors() == 0, what="the mirrors know all")
    assert world.dead_letters() == []
    until(queues.all_complete, what="every queue has three members online again")
