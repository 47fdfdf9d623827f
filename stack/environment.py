"""Forget environment variables that steer libraries behind our back: SAGA_… variables alone configure this system."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

# libpq takes from PG… whatever a URL leaves open, and PGHOSTADDR and PGSERVICE instead of what it says.
_PREFIXES: Final = ("PG", "TEMPORAL_", "UVICORN_")
# The last one has Python's ssl write the secrets of every connection to a file, or fail if it can't.
_NAMES: Final = frozenset({"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SSLKEYLOGFILE"})
# How the world outside is reached: a payment provider is there, and nothing else that we talk to.
_WAYS_OUT: Final = frozenset({"netrc", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle"})
_PROXY: Final = "_proxy"


def forget_strangers(environ: MutableMapping[str, str]) -> None:
    """Remove what no process of ours, and no program that it starts, may act upon."""
    for name in list(environ):
        if name.startswith(_PREFIXES) or name in _NAMES:
            del environ[name]


def forget_ways_out(environ: MutableMapping[str, str]) -> None:
    """Remove proxies, foreign credentials and certificates; a process that asks a real provider keeps them."""
    for name in list(environ):
        if name.lower().endswith(_PROXY) or name.lower() in _WAYS_OUT:
            del environ[name]
