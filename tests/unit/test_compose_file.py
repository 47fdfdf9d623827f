"""docker-compose.yml hands the user's settings on to the processes."""

from __future__ import annotations

import re
from pathlib import Path

from stack.settings import Settings

FILE = Path(__file__).parents[2] / "docker-compose.yml"
# Settings that the file makes itself: the addresses of its parts, and the time that a container has to stop.
SETTLED = {
    *("host", "port", "amqp_url", "orders_database_url", "payments_database_url"),
    *("order_service_url", "payment_service_url", "temporal_address", "temporal_namespace", "shutdown_timeout"),
}
FOR_TESTS = {"crash_at"}


def test_every_setting_can_be_set_from_outside_or_is_settled_by_the_file() -> None:
    handed_on = {name.lower() for name in re.findall(r"^ +SAGA_(\w+): \$\{SAGA_\1\b", FILE.read_text(), re.MULTILINE)}
    assert {*Settings.model_fields} - handed_on == SETTLED | FOR_TESTS
