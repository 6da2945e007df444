"""What Prometheus would make of `GET /metrics`."""

from collections.abc import Callable
from dataclasses import dataclass

from fix_server import Server, eventually
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """One look at the metrics of a server."""

    families: dict[str, Metric]

    def names(self) -> set[str]:
        """The names of all samples: what queries may name."""
        return {sample.name for family in self.families.values() for sample in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """A sample, or the sum of several: all whose labels include these; 0 for none."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {
            sample.labels[label]
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and label in sample.labels
        }

    def series(self) -> int:
        return sum(len(family.samples) for family in self.families.values())


def scrape(server: Server) -> Scrape:
    response = server.request("GET", "/metrics")
    text = response.body().decode()
    assert response.status == 200, text
    return Scrape({family.name: family for family in text_string_to_metric_families(text)})


def comes_to_show(server: Server, holds: Callable[[Scrape], bool]) -> bool:
    return eventually(lambda: holds(scrape(server)))
