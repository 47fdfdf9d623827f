"""Orders are refused early only by what the services tell of their waits."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from api.gateway.dependencies import ServiceRequest, ServiceResponse
from api.gateway.downstream import ReadApi
from api.gateway.overload import Overload
from models.saga import Coordinator

pytestmark = pytest.mark.anyio


class Foreigner:
    """Something else than our service, which answers every question in the same way."""

    async def request(self, _: ServiceRequest) -> ServiceResponse:
        return ServiceResponse(200, b'["something else"]')


async def test_a_service_whose_waits_nobody_understands_refuses_no_orders() -> None:
    overload = Overload([ReadApi("order service", Foreigner())], longest=1)
    with capture_logs() as logs:
        overload.check(Coordinator.CHOREOGRAPHY)
        for _ in range(5):
            await asyncio.sleep(0)
    overload.check(Coordinator.CHOREOGRAPHY)
    assert [each["event"] for each in logs] == ["waits_misunderstood"]
