"""Read what protects the way to Temporal: certificates from their files, and the key of a hosted Temporal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from embedded.errors import StackError

if TYPE_CHECKING:
    from workflows.temporal_client import Protection

VARIABLES: Final = (
    *("SAGA_TEMPORAL_TLS", "SAGA_TEMPORAL_TLS_CA", "SAGA_TEMPORAL_TLS_CERT", "SAGA_TEMPORAL_TLS_KEY"),
    *("SAGA_TEMPORAL_TLS_NAME", "SAGA_TEMPORAL_API_KEY"),
)
_TRUE: Final = ("1", "true", "yes", "on", "t", "y")


def of_temporal(values: Mapping[str, str]) -> Protection | None:
    """What VARIABLES say, as they stand in an environment; None without TLS. Any but the first turns it on.

    Raises StackError for a file that cannot be read, or a certificate without its key.
    """
    on, *files, name, api_key = (values.get(variable) or "" for variable in VARIABLES)
    if not (on.lower() in _TRUE or any(files) or name or api_key):
        return None
    ca, certificate, key = (_content(variable, path) for variable, path in zip(VARIABLES[1:4], files, strict=True))
    if bool(certificate) != bool(key):
        given, missing = VARIABLES[2:4] if certificate else VARIABLES[3:1:-1]
        raise StackError(f"{given} is set and {missing} is not; a client certificate needs both")
    from temporalio.service import TLSConfig  # it takes long to load

    from workflows.temporal_client import Protection

    tls = TLSConfig(server_root_ca_cert=ca, domain=name or None, client_cert=certificate, client_private_key=key)
    return Protection(tls=tls, api_key=api_key or None)


def _content(variable: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StackError(f"{variable}: {path} cannot be read ({error.strerror}); correct the path") from None
