"""Read what a process shows to Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.support import http
from tests.support.world import World


class Metrics:
    """What one process has measured, at one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels, 0 without any. Fails if none has the name."""
        assert name in self.names, f"{name} is not shown"
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {sample.labels[label] for sample in self._samples if sample.name == name}


def scrape(world: World, process: str) -> Metrics:
    """Ask a process of a test's world, as Prometheus does."""
    url = f"http://127.0.0.1:{world.ports[process]}/metrics"
    with http.client(timeout=10) as client:
        answer = client.get(url, headers={"Authorization": f"Bearer {world.env['SAGA_INTERNAL_TOKEN']}"})
    assert answer.status_code == 200, answer.text
    return Metrics(answer.text)
