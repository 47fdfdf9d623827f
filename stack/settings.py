"""Read the configuration of a process from its environment, and check that the settings fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import ValidationError, model_validator

from embedded.errors import StackError
from models.originals import Originals
from models.saga import Coordinator
from stack.addresses import Ports, Process
from stack.setting_fields import SettingFields


class Settings(SettingFields):
    """The configuration of one process."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.provider == "stripe" and not self.stripe_api_key.get_secret_value():
            raise ValueError("SAGA_PROVIDER=stripe needs the account's secret key in SAGA_STRIPE_API_KEY")
        if self.original_services and self.default_coordinator is Coordinator.ORCHESTRATION:
            raise ValueError("SAGA_DEFAULT_COORDINATOR=orchestration needs both services to be ours; use choreography")
        if self.original_services and self.mirror_after:
            raise ValueError("SAGA_MIRROR_AFTER must be 0 with SAGA_ORIGINAL_SERVICES: only mirrors tell such sagas")
        patience = min(self.payment_timeout, self.compensation_timeout)
        if self.mirror_after > patience:
            raise ValueError(
                f"SAGA_MIRROR_AFTER is {self.mirror_after:g} s, and a mirror that begins so late can't keep a timeout "
                f"of {patience:g} s; lower it, or raise SAGA_PAYMENT_TIMEOUT and SAGA_COMPENSATION_TIMEOUT"
            )
        for name in ("event_log_retention", "idempotency_retention"):
            kept = getattr(self, name)
            if kept is not None and kept < self.least_retention:
                raise ValueError(
                    f"SAGA_{name.upper()} is {kept:g} s, and a saga may take {self.least_retention:g} s with all its "
                    "timeouts, tries and retries; raise it to that at least, or unset it to keep all for good"
                )
        return self

    @property
    def originals(self) -> Originals:
        """The services that are not ours."""
        return frozenset(self.original_services)

    @property
    def payment_patience(self) -> float:
        """Seconds after which a payment service has made all its own tries, with delays and their jitter."""
        return 1.5 * sum(self.retry_delays) + (len(self.retry_delays) + 1) * self.provider_timeout

    @property
    def least_retention(self) -> float:
        """Seconds after which nobody needs a saga's events and its key any more, if all servers work."""
        # Before the compensation, a payment may have taken all its time. A mirror's last try to compensate ends after
        # 2^6 - 1 compensation timeouts. Then the reconciler may need one sweep to notice, and one to act.
        compensation = 2**6 * self.compensation_timeout
        return self.payment_timeout + compensation + self.payment_patience + 2 * self.reconcile_interval

    @property
    def temporal_variables(self) -> Mapping[str, str]:
        """What protects the way to Temporal, as it would stand in an environment."""
        files = {"CA": self.temporal_tls_ca, "CERT": self.temporal_tls_cert, "KEY": self.temporal_tls_key}
        return {
            "SAGA_TEMPORAL_TLS": str(self.temporal_tls),
            **{f"SAGA_TEMPORAL_TLS_{name}": path for name, path in files.items()},
            "SAGA_TEMPORAL_TLS_NAME": self.temporal_tls_name,
            "SAGA_TEMPORAL_API_KEY": self.temporal_api_key.get_secret_value(),
        }

    def port_of(self, process: Process) -> int:
        """The port on which this process listens."""
        return self.port or getattr(Ports(), process)


def load() -> Settings:
    """The configuration of this environment. Raises StackError, which names each invalid variable and its rule."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(_described_fault(fault["loc"], fault["msg"]) for fault in error.errors(include_input=False))
        raise StackError(f"The configuration is not valid. {faults}. See docs/configuration.md") from None


def _described_fault(location: tuple[int | str, ...], message: str) -> str:
    name = f"SAGA_{str(location[0]).upper()}: " if location else ""
    return name + message.removeprefix("Value error, ")
