"""Print docs/configuration.md from the settings themselves: `python -m stack.configuration`."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from stack.settings import Settings

_HEAD: Final = """\
# Configuration

Every process reads its configuration from environment variables when it starts, and from nothing else. A value that
breaks its rule stops the process with one line that names the variable and the rule. A variable that is set but empty
counts as not set. `saga up` gives addresses and passwords to the processes it starts, and hands on all other variables.

This page is made by `python -m stack.configuration > docs/configuration.md`; a test keeps it up to date.

| variable | default | rule | meaning |
|---|---|---|---|
"""
_TAIL: Final = """
Variables of other programs change nothing. What steers a library (`PG…`, `TEMPORAL_…`, `UVICORN_…`, `WEB_CONCURRENCY`,
`FORWARDED_ALLOW_IPS`, `SSLKEYLOGFILE`) is forgotten when a process starts. Proxies (`HTTP_PROXY` and its like), `NETRC`
and certificates (`SSL_CERT_FILE` and its like) are forgotten too, except by the payment service when it asks Stripe:
everything else is reached directly, and the internal token never passes a proxy.

Errors about the configuration never show a secret's value; the passwords among the defaults above are masked.

The command line reads these as well, and the addresses and the token above to reach another system;
[The command line](command-line.md) says which of them wins.

| variable | meaning |
|---|---|
| `SAGA_DATA` | folder of `saga up`, by default `.saga` |
| `SAGA_GATEWAY_URL` | the gateway of another system |
| `SAGA_API_KEY` | the key to show to a gateway |
| `SAGA_API_KEY_FILE` | a file with that key, which nobody else may read (mode 600); the variable before wins |
| `SAGA_ORIGINAL_ORDERS_DATABASE_URL` | orders of the original services, for `saga migrate` |
| `SAGA_ORIGINAL_PAYMENTS_DATABASE_URL` | their payments |

The tests read `SAGA_TEST_PORT_OFFSET`.
"""
_BOUNDS: Final = {"ge": "at least {}", "gt": "more than {}", "min_length": "{} or more", "le": "at most {}"}


def page() -> str:
    """docs/configuration.md, as it must be committed."""
    rows = (_row(f"`SAGA_{name.upper()}`", field) for name, field in Settings.model_fields.items())
    return _HEAD + "".join(rows) + _TAIL


def _row(name: str, field: FieldInfo) -> str:
    cells = (name, _default(field.default), _rule(field), field.description)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells) + "\n"


def _default(value: Any) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    text = ",".join(map(str, text)) if isinstance(text, tuple) else text
    return "" if text in (None, "") else f"`{re.sub(r':[^:/@]+@', ':***@', str(text))}`"


def _rule(field: FieldInfo) -> str:
    kind = field.annotation
    choices = get_args(kind) if get_origin(kind) is Literal else kind if isinstance(kind, type(Enum)) else ()
    bounds = [rule.format(getattr(m, key)) for key, rule in _BOUNDS.items() for m in field.metadata if hasattr(m, key)]
    return "secret" if kind is SecretStr else " or ".join(f"`{choice}`" for choice in choices) or ", ".join(bounds)


if __name__ == "__main__":
    print(page(), end="")
