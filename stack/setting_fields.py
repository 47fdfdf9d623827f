"""List the settings: one field for each environment variable SAGA_…, with its bounds and what it is for."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from choreography.topology import DEFAULT_RETRY_DELAYS
from models.saga import Coordinator
from stack.setting_types import (
    ApiKeys,
    BrokerUrls,
    DatabaseUrl,
    Delays,
    HostNames,
    HttpUrl,
    Networks,
    Origins,
    PageUrl,
    QueuesByKey,
    ServiceNames,
)

_CENTURY: Final = 3_155_760_000  # seconds


class SettingFields(BaseSettings):
    """Every setting by itself. docs/configuration.md is made of the descriptions here."""

    model_config = SettingsConfigDict(env_prefix="SAGA_", env_ignore_empty=True, frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="port to listen on; by default 3000 (gateway), 3001 (order), 3002 (payment), 3003 (worker)",
    )
    allowed_hosts: HostNames = Field(
        (),
        description="names, beside localhost and loopback's addresses, under which this process may be asked for "
        "(the Host of a request), comma-separated, each for any port",
    )
    cors_origins: Origins = Field(
        (),
        description="origins whose web pages may use the gateway from a browser, such as `https://shop.example`, "
        "comma-separated; all others may not",
    )
    trusted_proxies: Networks = Field(
        (),
        description="addresses and networks of the proxies before the gateway, comma-separated, whose "
        "`X-Forwarded-For` tells the client's address; one from elsewhere is ignored",
    )
    api_keys: ApiKeys = Field(
        (),
        description="who may use the gateway: records `name:role:digest` or `name:role:userId:digest`, separated by "
        "commas or white space; `saga keys new` makes them, [Keys](keys.md) tells more; none: whoever reaches it may",
    )
    open: bool = Field(
        False,
        description="let the gateway serve other addresses than loopback's although no keys are configured, because "
        "something else keeps strangers out",
    )
    rate_limit: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="requests a second that each client may make of the gateway, by its API key or its address; those "
        "beyond are answered with 429; unset: any number",
    )
    longest_wait: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="seconds that a new order may wait until a service turns to it; while it would wait longer, the "
        "gateway refuses orders with 503",
    )
    request_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds that a client has to begin a request, and again to send it",
    )
    connections: int = Field(
        10_000,
        ge=2,
        le=1_000_000,
        description="connections of clients that a process serves at once, of one address half of them; those beyond "
        "are answered with 503, except on `/healthz` and `/readyz`",
    )
    amqp_url: BrokerUrls = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        description="RabbitMQ, with user and password; of a cluster every node's URL, comma-separated: "
        "whenever a connection is lost, the next is tried",
    )
    orders_database_url: DatabaseUrl = Field(
        SecretStr("postgresql://orders:orders@127.0.0.1:5432/orders"), description="the order service's database"
    )
    payments_database_url: DatabaseUrl = Field(
        SecretStr("postgresql://payments:payments@127.0.0.1:5432/payments"),
        description="the payment service's database",
    )
    database_connections: int = Field(8, ge=2, le=200, description="connections each service keeps to its database")
    order_service_url: HttpUrl = Field(
        SecretStr("http://127.0.0.1:3001"),
        description="where the gateway asks the order service; a password in it is sent as Basic credentials, instead "
        "of the internal token",
    )
    payment_service_url: HttpUrl = Field(
        SecretStr("http://127.0.0.1:3002"), description="where the gateway asks the payment service, likewise"
    )
    worker_url: HttpUrl = Field(
        SecretStr("http://127.0.0.1:3003"), description="where the gateway asks the worker for its dead letters"
    )
    internal_token: SecretStr = Field(
        SecretStr(""),
        description="token that ports 3001 to 3003 ask for, as bearer token or as the password of Basic credentials; "
        "empty: they answer nobody. All but the gateway may have its digest instead: `sha256:` and the SHA-256 in hex",
    )
    default_coordinator: Coordinator = Field(
        Coordinator.CHOREOGRAPHY, description="coordinator of an order that names none"
    )
    supervised_in: str = Field(
        "",
        description="folder of data of the embedded stack that this gateway is part of: the console lets operators "
        "kill, freeze and cut off its processes. `saga up` sets it",
    )
    original_services: ServiceNames = Field(
        (),
        description="which services are original ones, `order`, `payment` or both, comma-separated: the gateway "
        "refuses what would not work with them (501), and mirrors don't wait for events that they never send; "
        "see [Migrating](migrating.md)",
    )
    original_queues: QueuesByKey = Field(
        (),
        description="queues of an original service whose names are not those of the newest version, each as "
        "`routing key=queue`, comma-separated: our services take an event for published when its queue exists; "
        "see [Migrating](migrating.md)",
    )
    provider: Literal["simulated", "stripe"] = Field("simulated", description="payment provider")
    provider_latency_ms: int = Field(1500, ge=0, le=600_000, description="how long a simulated charge takes, in ms")
    provider_decline_rate: float = Field(0.2, ge=0, le=1, description="share of simulated charges declined by the coin")
    provider_timeout: float = Field(15.0, gt=0, le=600, description="seconds to wait for an answer of the provider")
    stripe_api_key: SecretStr = Field(SecretStr(""), description="secret key of the Stripe account, for `stripe`")
    temporal_address: str = Field("127.0.0.1:7233", pattern=r"^[^\s/:]+:\d{1,5}$", description="Temporal, as host:port")
    temporal_ui_url: PageUrl = Field(
        "", description="where people reach Temporal's web UI, such as `http://127.0.0.1:8233`: the console links to it"
    )
    temporal_namespace: str = Field("default", min_length=1, description="Temporal namespace of the sagas")
    temporal_tls: bool = Field(
        False, description="whether Temporal is reached over TLS; each of the five below turns it on, too"
    )
    temporal_tls_ca: str = Field(
        "", description="file (PEM) with the CA of Temporal's certificate; by default the machine's CAs are trusted"
    )
    temporal_tls_cert: str = Field("", description="file (PEM) with our client certificate for Temporal")
    temporal_tls_key: str = Field("", description="file (PEM) with the key of our client certificate for Temporal")
    temporal_tls_name: str = Field("", description="name in Temporal's certificate, if it is not that in its address")
    temporal_api_key: SecretStr = Field(SecretStr(""), description="our API key for a hosted Temporal")
    payment_timeout: float = Field(
        900.0,
        ge=0.001,
        le=31_536_000,
        description="seconds after which an order whose payment is not settled is cancelled",
    )
    compensation_timeout: float = Field(
        60.0, ge=0.001, le=86_400, description="seconds for a refund or void, before order.cancelled is published again"
    )
    reconcile_interval: float = Field(
        60.0, ge=1, le=86_400, description="seconds between the sweeps of the reconciler for what has fallen through"
    )
    mirror_prefetch: int = Field(
        1000, ge=1, le=65535, description="events that the worker holds for the mirrors at once"
    )
    mirror_concurrency: int = Field(
        32,
        ge=1,
        le=1000,
        description="most mirrors that the worker tells at once; it finds the best number below that itself",
    )
    mirror_gather: float = Field(
        0.25,
        ge=0,
        le=60,
        description="seconds for which an order's events are gathered before its mirror is told of them",
    )
    mirror_after: float = Field(
        0.0,
        ge=0,
        le=600,
        description="a saga that is over within so many seconds gets no mirror; its timeline is told from the event "
        "logs; 0: every saga gets one. The same for services and workers; at most `SAGA_PAYMENT_TIMEOUT` and "
        "`SAGA_COMPENSATION_TIMEOUT`",
    )
    retry_delays: Delays = Field(
        DEFAULT_RETRY_DELAYS,
        min_length=1,
        max_length=20,
        description="seconds before each retry of a failed message, comma-separated; after the last, a dead letter",
    )
    topology_interval: float = Field(
        15.0,
        gt=0,
        le=86_400,
        description="seconds after which a process declares its own queues and bindings again, as one may have been "
        "deleted",
    )
    prefetch: int = Field(
        5000, ge=1, le=65535, description="messages a service handles at once, provider calls included"
    )
    batch_limit: int = Field(300, ge=1, le=5000, description="messages that one transaction applies at most")
    relay_grace: float = Field(
        2.0, ge=0, le=3600, description="seconds an event waits for the fast path before the relay takes it"
    )
    relay_interval: float = Field(1.0, gt=0, le=3600, description="seconds between unasked sweeps of the outbox")
    event_log_retention: float | None = Field(
        None, gt=0, le=_CENTURY, description="seconds that the events of a saga that is over are kept; unset: for good"
    )
    idempotency_retention: float | None = Field(
        None, gt=0, le=_CENTURY, description="seconds that an Idempotency-Key is kept; unset: for good"
    )
    retention_interval: float = Field(
        3600.0, gt=0, le=86_400, description="seconds between the removals of what is kept no longer"
    )
    shutdown_timeout: float = Field(
        8.0,
        ge=0,
        le=3600,
        description="seconds to finish what was begun, on SIGTERM; three more, and the process has ended",
    )
    crash_at: str = Field("", description="for tests: points at which the process kills itself, `name:nth passage`")
    metrics: bool = Field(True, description="whether the process measures what it does, and shows it at `/metrics`")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["json", "console"] = Field("json", description="how log lines are written to standard error")
