"""Define the types of settings that an environment gives as text: lists, URLs, names and API keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv6Address, ip_network
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from api.crowd import Network
from api.gateway.keys import ApiKey, parse_all
from choreography.connecting import nodes, unreadable_files
from choreography.topology import readers
from models.originals import ServiceName

_TO_ENCODE: Final = "has a character that must be percent-encoded, such as %40 for @, %25 for % and %20 for a space"
_NAME: Final = r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])"


def _parts(value: Any) -> Any:
    return [part for part in value.replace(" ", "").split(",") if part] if isinstance(value, str) else value


def _keys(value: Any) -> Any:
    return parse_all(value) if isinstance(value, str) else value


def _url(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    def check(url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if not _is_url(text, schemes):  # the message must not have the URL: it may hold a password
            raise ValueError(f"must be like {schemes[0]}://user:password@host:port/name")
        if _is_ambiguous(text):
            raise ValueError(_TO_ENCODE)
        return url

    return check


def _is_ambiguous(url: str) -> bool:
    """Whether others would read this URL otherwise, and show a part of the password as a host's name."""
    return urlsplit(url).netloc.count("@") > 1 or re.search(r"%(?![0-9A-Fa-f]{2})|\s", url) is not None


def _cluster(urls: SecretStr) -> SecretStr:
    for node in nodes(urls.get_secret_value()):
        if not _is_url(node, ("amqp", "amqps")) or "," in (urlsplit(node).hostname or ""):
            rule = "must be like amqp://user:password@host:port/name, or several such URLs separated by commas"
            raise ValueError(rule)
        if _is_ambiguous(node):
            raise ValueError(_TO_ENCODE)
    for path in unreadable_files(urls.get_secret_value()):
        raise ValueError(f"names the file {path}, which cannot be read")
    return urls


def _is_url(text: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host_name(text: str) -> str:
    with suppress(ValueError):
        return f"[{IPv6Address(text)}]"  # as it stands in a Host
    if not re.fullmatch(_NAME, text):
        raise ValueError("must be names such as shop.example, without scheme and port")
    return text


def _read_queue(text: str) -> tuple[str, str]:
    routing_key, _, queue = text.partition("=")
    if not (readers(routing_key) and queue):
        raise ValueError(
            "must be like order.created=payment.process.queue, with the key of an event that is waited for"
        )
    return routing_key, queue


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("must be addresses or networks such as 10.0.0.0/8, without bits beyond the mask") from None


def _page(text: str) -> str:
    if text and not re.fullmatch(rf"https?://{_NAME}(:[0-9]{{1,5}})?(/[A-Za-z0-9/._~-]*)?", text):
        raise ValueError("must be like http://127.0.0.1:8233, with or without a path")
    return text


def _origin(text: str) -> str:
    if not re.fullmatch(rf"https?://{_NAME}(:[0-9]{{1,5}})?", text):
        raise ValueError("must be origins such as https://shop.example, without a path")
    return text


Delays: TypeAlias = Annotated[
    tuple[Annotated[float, Field(ge=0.001, le=86_400)], ...], NoDecode, BeforeValidator(_parts)
]
HostNames: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(_host_name)], ...], NoDecode, BeforeValidator(_parts)
]
Networks: TypeAlias = Annotated[
    tuple[Annotated[Network, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_parts)
]
Origins: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_parts)]
ServiceNames: TypeAlias = Annotated[tuple[ServiceName, ...], NoDecode, BeforeValidator(_parts)]
QueuesByKey: TypeAlias = Annotated[
    tuple[Annotated[tuple[str, str], BeforeValidator(_read_queue)], ...], NoDecode, BeforeValidator(_parts)
]
ApiKeys: TypeAlias = Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_keys)]
BrokerUrls: TypeAlias = Annotated[SecretStr, AfterValidator(_cluster)]
DatabaseUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_url("postgresql", "postgres"))]
HttpUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_url("http", "https"))]
PageUrl: TypeAlias = Annotated[str, AfterValidator(_page)]
