"""Have the Rust core of the Temporal SDK log through Python. By itself it writes coloured text to standard error."""

from __future__ import annotations

import logging
from typing import Final

from temporalio.runtime import LogForwardingConfig, LoggingConfig, TelemetryFilter

CORE_LOGGER: Final = "temporalio.core"

# A process that sets up no logging, such as most commands of `saga`, tells nothing of the core.
logging.getLogger(CORE_LOGGER).addHandler(logging.NullHandler())

# Of the core's lines, only the message becomes text. A record keeps the rest as its `temporal_log`.
FORWARDED: Final = LoggingConfig(
    filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
    forwarding=LogForwardingConfig(
        logger=logging.getLogger(CORE_LOGGER),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    ),
)
