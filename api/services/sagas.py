"""Start orchestrated sagas where they are worked on, as the gateway asks."""

from __future__ import annotations

from typing import Protocol

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.json_response import json_response
from api.openapi import answers, problems, takes
from api.problems import unavailable
from api.requests import read_body
from api.schemas import NewSaga, SagaStarted
from workflows.saga_input import SagaInput
from workflows.temporal_errors import TemporalUnavailable


class StartSaga(Protocol):
    async def __call__(self, saga: SagaInput, *, traceparent: str | None) -> bool:
        """Start the saga. Returns False if it has certainly not been started. Raises TemporalUnavailable."""


def saga_routes(start: StartSaga) -> APIRouter:
    """`/sagas`."""
    router = APIRouter(tags=["operation"])

    @router.post(
        "/sagas",
        summary="Start an orchestrated saga in this process",
        responses=answers(200, SagaStarted, "Whether it was started") | problems(401, 503),
        openapi_extra=takes(NewSaga),
    )
    async def start_one(request: Request) -> Response:
        wanted = await read_body(request, NewSaga)
        try:
            started = await start(wanted.saga, traceparent=wanted.traceparent)
        except TemporalUnavailable as error:
            detail = "Temporal does not answer: the saga may have been started all the same; asking again is safe"
            raise unavailable(detail) from error
        return json_response({"started": started})

    return router
