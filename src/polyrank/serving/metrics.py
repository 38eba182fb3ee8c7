"""What Prometheus is told: no ids, no feature values, and labels from fixed sets only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from polyrank.schema import Binary
from polyrank.serving.http import Finished
from polyrank.serving.models import Served
from polyrank.serving.ranking import Pass, Wanting

PREFIX = "polyrank_"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CANDIDATES = (1, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
REQUESTS = (1, 2, 4, 8, 16, 32)
_Read = Callable[[], Mapping[tuple[str, ...], float]]


class Metrics:
    """The server's counters, a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._requests = counter("requests", "Requests by route and status.", "route", "status")
        told = "From the headers to the end of the answer."
        self._seconds = histogram("request_seconds", told, SECONDS, "route")
        self._stages = histogram("stage_seconds", "Of a request by stage.", SECONDS, "stage")
        self._candidates = histogram("candidates", "Candidates of a request.", CANDIDATES)
        told = "Requests that shared a pass of the model."
        self._pass_requests = histogram("pass_requests", told, REQUESTS, "model")
        told = "Candidates in a pass of the model."
        self._pass_rows = histogram("pass_rows", told, CANDIDATES, "model")
        self._predicted = counter("predictions", "Predictions made.", "model", "task")
        told = (
            "Sum of predicted probabilities of a binary task; over the predictions it is the rate "
            "that the model expects."
        )
        self._positives = counter("expected_positives", told, "model", "task")
        told = "Share of positives of a binary task in training."
        self._rate = gauge("training_rate", told, "model", "task")
        told = "Requests in which nobody gave a column."
        self._missing = counter("missing_columns", told, "model", "column")
        told = "Ids that a side table has no row of."
        self._unknown = counter("unknown_ids", told, "model", "table")
        told = "Requests for which a store gave defaults."
        self._degraded = counter("degraded_requests", told, "model", "table")
        self._versions = gauge("version_info", "1: it answers.", "model", "version")

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, told, labels, registry=self.registry)

    def _gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, told, labels, buckets=buckets, registry=self.registry)

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

    def wanting(self, model: str, wanting: Wanting) -> None:
        """Count what a request lacked."""
        for column in wanting.missing:
            self._missing.labels(model, column).inc()
        for table, count in wanting.unknown.items():
            self._unknown.labels(model, table).inc(count)
        for table in wanting.degraded:
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
