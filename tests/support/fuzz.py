"""Send what an OpenAPI document allows and what it forbids, and check every answer against the document."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

_NOTHING_TO_GET_WRONG = {  # requests without parts
    "GET /api/payments/stats",
    "GET /api/operator/audit",
    "POST /api/operator/reconcile",
    "GET /healthz",
    "GET /readyz",
}


def fuzz(operation: Any, mode: GenerationMode, *, examples: int) -> None:
    """Fail on a 5xx, an undeclared answer, or bad input that is accepted. The requests are the same in every run."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if _has_float(case) else [])

    try:
        send()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, operation.label
        assert operation.label in _NOTHING_TO_GET_WRONG


def _has_float(case: Any) -> bool:
    """Whether a body has a float: JSON Schema takes 999.0 for an integer, and money must not."""
    return isinstance(case.body, dict) and isinstance(case.body.get("total"), float)
