"""Remove environment variables that steer libraries: only SAGA_… variables configure this system."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

# libpq takes from PG… what a URL leaves open; PGHOSTADDR and PGSERVICE even override the URL.
_PREFIXES: Final = ("PG", "TEMPORAL_", "UVICORN_")
# With SSLKEYLOGFILE, Python's ssl writes the secrets of every connection to a file, or fails if it can't.
_NAMES: Final = frozenset({"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SSLKEYLOGFILE"})
# These say how to reach the outside world. Only a payment provider is there.
_WAYS_OUT: Final = frozenset({"netrc", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle"})
_PROXY: Final = "_proxy"


def forget_strangers(environ: MutableMapping[str, str]) -> None:
    """Remove variables that must not steer our processes, nor the programs that they start."""
    for name in list(environ):
        if name.startswith(_PREFIXES) or name in _NAMES:
            del environ[name]


def forget_ways_out(environ: MutableMapping[str, str]) -> None:
    """Remove proxies, netrc and certificates. Only a process that calls a real provider needs them."""
    for name in list(environ):
        if name.lower().endswith(_PROXY) or name.lower() in _WAYS_OUT:
            del environ[name]
