"""Define the embedded stack: its programs, what each of them must know, and their addresses."""

import hashlib
import hmac
import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from api.tokens import recognising
from embedded import postgres, rabbitmq, state, temporal
from embedded.errors import StackError
from embedded.ports import LOOPBACK
from embedded.program import ALIVE_TIMEOUT, Program, StartStage, http_ok
from stack import protection
from stack.addresses import Ports
from stack.rights import OPERATOR, USERS, definitions, password_hash
from stack.ways import OWN

# The user's environment must not change the addresses of the embedded stack. `services` gives each process its own.
ADDRESSES = frozenset(
    {
        "SAGA_HOST",
        "SAGA_PORT",
        "SAGA_AMQP_URL",
        "SAGA_TEMPORAL_ADDRESS",
        *protection.VARIABLES,
        "SAGA_ORDERS_DATABASE_URL",
        "SAGA_PAYMENTS_DATABASE_URL",
        "SAGA_ORDER_SERVICE_URL",
        "SAGA_PAYMENT_SERVICE_URL",
        "SAGA_WORKER_URL",
        "SAGA_TEMPORAL_UI_URL",
        "SAGA_SUPERVISED_IN",
    }
)
# A key opens a gateway for the command line, and `saga migrate` alone reaches the databases of the original services.
# No process of the system needs them.
OURS_ALONE = frozenset(
    {
        "SAGA_API_KEY",
        "SAGA_API_KEY_FILE",
        "SAGA_ORIGINAL_ORDERS_DATABASE_URL",
        "SAGA_ORIGINAL_PAYMENTS_DATABASE_URL",
    }
)
GATEWAY_SECRETS = frozenset({"SAGA_API_KEYS"})
PROVIDER_SECRETS = frozenset({"SAGA_STRIPE_API_KEY"})  # only the payment service calls the provider
SERVICES = ("order", "payment", "gateway", "worker")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The passwords of one folder of data. Their repr doesn't show them."""

    orders: str = field(repr=False)
    payments: str = field(repr=False)
    broker: str = field(repr=False)
    cookie: str = field(repr=False)
    internal_token: str = field(repr=False)

    def of_broker_user(self, name: str) -> str:
        """The password of a user of the broker; from a process's own, nobody can tell another's."""
        if name == OPERATOR:
            return self.broker
        digest = hmac.digest(self.broker.encode(), f"broker user {name}".encode(), "sha256")
        return urlsafe_b64encode(digest).decode().rstrip("=")

    @classmethod
    def of(cls, data: Path) -> "Secrets":
        """The secrets in `data`. They are made at the first use, and only their owner can read them.

        Two first uses at once get the same secrets. Raises StackError if they are damaged or missing.
        """
        kept = data / "secrets.json"
        if not kept.exists():
            _make_secrets(data, kept, cls)
        try:
            return cls(**json.loads(kept.read_text()))
        except (TypeError, ValueError) as error:
            raise StackError(f"{kept} is damaged ({error}): restore it, or delete {data} to begin anew") from error


def _make_secrets(data: Path, kept: Path, cls: type[Secrets]) -> None:
    if (data / "rabbitmq" / "mnesia").exists():
        raise StackError(f"{kept} is missing, with the passwords of the data beside it: restore it, or delete {data}")
    state.make_folder(data)
    fresh = cls(**{name: secrets.token_urlsafe(24) for name in cls.__dataclass_fields__})
    draft = data / f".secrets-{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - a mode
        json.dump(asdict(fresh), file)
    try:
        os.link(draft, kept)  # other than a rename, this fails if another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def servers(data: Path, port_offset: int, secrets: Secrets) -> list[Program]:
    """PostgreSQL, RabbitMQ and Temporal on `data`, not started yet. Raises StackError if one isn't installed."""
    data, ports = data.absolute(), Ports.shifted(port_offset)
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SAGA_DATA": str(data),  # shows in a list of processes to which stack it belongs
    }
    behind = _unguessable(secrets)
    return [
        rabbitmq.program(  # first, because it takes longest
            data=data,
            amqp=ports.amqp,
            ui=ports.rabbitmq_ui,
            behind=behind,
            distribution=ports.rabbitmq_distribution,
            password=secrets.broker,
            cookie=secrets.cookie,
            definitions=broker_definitions(secrets),
            env=env,
        ),
        postgres.program(
            data=data,
            port=ports.postgres,
            passwords={"orders": secrets.orders, "payments": secrets.payments},
            env=env,
        ),
        temporal.program(
            data=data,
            grpc=ports.temporal,
            ui=ports.temporal_ui,
            behind=behind,
            env=env,
        ),
    ]


def broker_definitions(secrets: Secrets) -> dict[str, Any]:
    """The broker's users with their rights: the operator, and one for each process."""
    return definitions({name: password_hash(secrets.of_broker_user(name)) for name in USERS})


def broker_url(port_offset: int, secrets: Secrets, user: str, host: str = LOOPBACK) -> str:
    """Where the broker is for one of its users."""
    return f"amqp://{user}:{secrets.of_broker_user(user)}@{host}:{Ports.shifted(port_offset).amqp}/"


def _unguessable(secrets: Secrets) -> str:
    """The loopback address of the unprotected web UIs: one of 16 million, always the same for the same data."""
    first, *rest = hashlib.sha256(f"web UIs {secrets.cookie}".encode()).digest()[:3]
    return f"127.{1 + first % 254}.{rest[0]}.{1 + rest[1] % 254}"


def urls(port_offset: int, secrets: Secrets, host: str = LOOPBACK) -> dict[str, str]:
    """The URLs of all parts, with an operator's passwords."""
    ports = Ports.shifted(port_offset)
    return {
        "gateway": f"http://{host}:{ports.gateway}",
        "temporal_ui": f"http://{host}:{ports.temporal_ui}",
        "temporal": f"{host}:{ports.temporal}",
        "amqp": broker_url(port_offset, secrets, OPERATOR, host),
        "rabbitmq_ui": f"http://{host}:{ports.rabbitmq_ui}",
        "orders_db": f"postgresql://orders:{secrets.orders}@{host}:{ports.postgres}/orders",
        "payments_db": f"postgresql://payments:{secrets.payments}@{host}:{ports.postgres}/payments",
    }


def services(
    data: Path,
    port_offset: int,
    secrets: Secrets,
    environ: Mapping[str, str] = os.environ,
    *,
    shutdown_timeout: float = 8.0,
    cuttable: bool = False,
) -> list[Program]:
    """Our own processes. Each gets the addresses that it needs; all else comes from SAGA_ variables in `environ`.

    If they are `cuttable`, they reach the servers and each other by `stack.ways`.
    """
    ports = vars(Ports.shifted(port_offset))
    inherited = {name: value for name, value in environ.items() if name not in ADDRESSES | OURS_ALONE}
    withheld = {  # whom each secret is for
        name: (GATEWAY_SECRETS if name != "gateway" else frozenset())
        | (PROVIDER_SECRETS if name != "payment" else frozenset())
        for name in SERVICES
    }
    token = inherited.pop("SAGA_INTERNAL_TOKEN", "") or secrets.internal_token
    programs = []
    for name in SERVICES:
        host = OWN[name] if cuttable and name == "gateway" else LOOPBACK  # clients reach it by a way, too
        probe = partial(http_ok, ports[name], host=host)
        programs.append(
            Program(
                name=name,
                argv=(sys.executable, "-P", "-m", "cli", "run", name),
                env={
                    "SAGA_HOST": host,
                    "SAGA_INTERNAL_TOKEN": token if name == "gateway" else recognising(token),
                    **{key: value for key, value in inherited.items() if key not in withheld[name]},
                    "SAGA_DATA": str(data.absolute()),
                    "SAGA_PORT": str(ports[name]),
                    **_addresses(name, data, port_offset, secrets, OWN[name] if cuttable else LOOPBACK),
                },
                cwd=Path.cwd(),
                ports={name: ports[name]},
                ready=partial(probe, "/readyz"),
                alive=partial(probe, "/healthz", timeout=ALIVE_TIMEOUT),
                stage=StartStage.SERVICE,
                stop_within=shutdown_timeout + 4.0,
                yields=name == "worker",
            )
        )
    return programs


def _addresses(name: str, data: Path, port_offset: int, secrets: Secrets, host: str) -> dict[str, str]:
    """Where a process finds what it needs: all on this host, but the page that people open."""
    ports = Ports.shifted(port_offset)
    where = urls(port_offset, secrets, host)
    everybody = {
        "SAGA_AMQP_URL": broker_url(port_offset, secrets, name, host),
        "SAGA_TEMPORAL_ADDRESS": where["temporal"],
    }
    own = {
        "order": {"SAGA_ORDERS_DATABASE_URL": where["orders_db"]},
        "payment": {"SAGA_PAYMENTS_DATABASE_URL": where["payments_db"]},
        "gateway": {
            "SAGA_ORDER_SERVICE_URL": f"http://{host}:{ports.order}",
            "SAGA_WORKER_URL": f"http://{host}:{ports.worker}",
            "SAGA_PAYMENT_SERVICE_URL": f"http://{host}:{ports.payment}",
            "SAGA_TEMPORAL_UI_URL": urls(port_offset, secrets)["temporal_ui"],
            "SAGA_SUPERVISED_IN": str(data.absolute()),
        },
    }
    return everybody | own.get(name, {})
