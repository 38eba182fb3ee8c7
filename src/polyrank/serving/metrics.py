"""What Prometheus is told: no ids, no feature values, and labels from fixed sets only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from polyrank.schema import Binary
from polyrank.serving.http import Finished
from polyrank.serving.models import Served
from polyrank.serving.ranking import Pass

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CANDIDATES = (1, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
REQUESTS = (1, 2, 4, 8, 16, 32)
_Read = Callable[[], Mapping[tuple[str, ...], float]]


class Metrics:
    """The server's counters, a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "polyrank_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "polyrank_request_seconds",
            "From the headers to the end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "polyrank_stage_seconds",
            "Seconds of a request by stage.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._candidates = Histogram(
            "polyrank_candidates",
            "Candidates of a request.",
            buckets=CANDIDATES,
            registry=registry,
        )
        self._pass_requests = Histogram(
            "polyrank_pass_requests",
            "Requests that shared a pass of the model.",
            ["model"],
            buckets=REQUESTS,
            registry=registry,
        )
        self._pass_rows = Histogram(
            "polyrank_pass_rows",
            "Candidates in a pass of the model.",
            ["model"],
            buckets=CANDIDATES,
            registry=registry,
        )
        self._predicted = Counter(
            "polyrank_predictions", "Predictions made.", ["model", "task"], registry=registry
        )
        self._positives = Counter(
            "polyrank_expected_positives",
            "Sum of predicted probabilities of a binary task; over the predictions it is the rate "
            "that the model expects.",
            ["model", "task"],
            registry=registry,
        )
        self._rate = Gauge(
            "polyrank_training_rate",
            "Share of positives of a binary task in training.",
            ["model", "task"],
            registry=registry,
        )
        self._missing = Counter(
            "polyrank_missing_columns",
            "Requests in which nobody gave a column.",
            ["model", "column"],
            registry=registry,
        )
        self._unknown = Counter(
            "polyrank_unknown_ids",
            "Ids that a side table has no row of.",
            ["model", "table"],
            registry=registry,
        )
        self._degraded = Counter(
            "polyrank_degraded_requests",
            "Requests for which a store gave defaults.",
            ["model", "table"],
            registry=registry,
        )
        self._versions = Gauge(
            "polyrank_version_info",
            "1 for the version that answers.",
            ["model", "version"],
            registry=registry,
        )

    def finished(self, finished: Finished) -> None:
        """Count a request that is over."""
        self._requests.labels(finished.route, str(finished.status)).inc()
        self._seconds.labels(finished.route).observe(finished.seconds)
        for stage, seconds in finished.stages.items():
            self._stages.labels(stage).observe(seconds)
        if finished.candidates is not None:
            self._candidates.observe(finished.candidates)

    def passed(self, model: str, each: Pass) -> None:
        """Count a pass of a model."""
        self._pass_requests.labels(model).observe(each.requests)
        self._pass_rows.labels(model).observe(each.rows)

    def predicted(self, served: Served, predictions: Mapping[str, NDArray[np.float64]]) -> None:
        """Count what was predicted."""
        for task, value_N in predictions.items():
            self._predicted.labels(served.model, task).inc(len(value_N))
            if isinstance(served.bundle.schema.task(task), Binary):
                self._positives.labels(served.model, task).inc(float(value_N.sum()))

    def wanting(
        self,
        model: str,
        missing: Iterable[str],
        unknown: Mapping[str, int],
        degraded: Iterable[str],
    ) -> None:
        """Count what a request lacked."""
        for column in missing:
            self._missing.labels(model, column).inc()
        for table, count in unknown.items():
            self._unknown.labels(model, table).inc(count)
        for table in degraded:
            self._degraded.labels(model, table).inc()

    def serving(self, versions: Mapping[str, Served]) -> None:
        """Tell which version of each model answers."""
        self._versions.clear()
        for model, served in versions.items():
            self._versions.labels(model, served.version).set(1)
            for task, stats in served.bundle.encoders.layout.targets.items():
                if isinstance(served.bundle.schema.task(task), Binary):
                    self._rate.labels(model, task).set(stats.mean)

    def counted_by(self, name: str, told: str, labels: tuple[str, ...], read: _Read) -> None:
        """Export a count that is kept elsewhere."""
        self.registry.register(_Kept(name, told, labels, read))

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)


class _Kept(Collector):
    """Reads a count when it is asked for."""

    def __init__(self, name: str, told: str, labels: tuple[str, ...], read: _Read) -> None:
        self._name, self._told, self._labels, self._read = name, told, labels, read

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._told, labels=self._labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        yield family
