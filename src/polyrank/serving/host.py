"""A whole server, put together from its settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from starlette.routing import BaseRoute

from polyrank.bundle import Bundle
from polyrank.errors import ConfigError, counted, suggest
from polyrank.scoring import Order, Scorer
from polyrank.scoring.engines import Engine, EngineName, Precision, choose
from polyrank.scoring.engines.graphs import find_graph
from polyrank.serving.admin import FOR_ALL, MIN_TOKEN, OPERATORS, Admin
from polyrank.serving.app import build_app
from polyrank.serving.console import console_routes
from polyrank.serving.exploring import check_explored, tell_of_unknown
from polyrank.serving.http import PLACES_APART, AccessLog, Finished, Guard, Readiness, Report
from polyrank.serving.metrics import Metrics
from polyrank.serving.models import Catalog, EngineOf, Served, share_one_heap
from polyrank.serving.predictions import PredictionLog, check_folder, check_logged
from polyrank.serving.rankers import Rankers
from polyrank.serving.recent import Recent
from polyrank.serving.service import Service
from polyrank.serving.settings import ServeSettings
from polyrank.serving.telemetry import traced
from polyrank.serving.warming import warm

LOG_SECONDS = 5.0
"""For what waits to be logged, at the end."""
_logger = logging.getLogger("polyrank.serving")
TOKEN_VARIABLE = "POLYRANK_ADMIN_TOKEN"  # noqa: S105
"""The environment variable that holds the operators' token."""


@contextmanager
def hosted(
    settings: ServeSettings,
    *,
    token: str | None = None,
    access_log: AccessLog | None = None,
    further: Sequence[BaseRoute] = (),
) -> Iterator[Guard]:
    """Everything a server needs, loaded and warm; to be given to ``http.run`` or ``http.serving``.

    Args:
        settings: What is served, and how.
        token: Opens the routes for operators; null: there are none.
        access_log: Told of every request that is over; null: nobody is.
        further: Routes of others.

    Raises:
        ConfigError: A setting does not fit.
        ArtefactError: A model has no version that may serve.
    """
    _check(settings)
    share_one_heap()
    readiness, metrics = Readiness(ready=False), Metrics()
    recent = Recent(bodies=token is not None)
    with ExitStack() as stack:
        catalog, rankers = _loaded(settings, metrics, stack)
        log = _log(settings, stack)
        tell_of_unknown(settings.explore, catalog)
        places = settings.limits.max_requests + PLACES_APART
        workers = ThreadPoolExecutor(places, thread_name_prefix="request")
        stack.callback(workers.shutdown, wait=False, cancel_futures=True)  # one may hang
        service = Service(
            catalog,
            rankers,
            metrics,
            recent=recent,
            max_candidates=settings.max_candidates,
            predictions=log,
            explored=settings.explore,
        )
        _count_elsewhere(metrics, rankers, log)
        admin = None if token is None else Admin(service, token, workers)
        routes = [*console_routes(), *further]
        app = build_app(service, readiness, workers, admin=admin, further=routes)
        catalog.watch(settings.watch_seconds)
        readiness.begin()
        spans = stack.enter_context(traced(app, settings.otlp))
        yield Guard(
            spans,
            settings.limits,
            apart=[OPERATORS],
            not_apart=[FOR_ALL],
            readiness=readiness,
            report=_reports(metrics, recent, access_log),
        )


def _reports(metrics: Metrics, recent: Recent, access_log: AccessLog | None) -> Report:
    """Tells all who count or write down what is over."""

    def report(finished: Finished) -> None:
        metrics.finished(finished)
        recent.finished(finished)
        if access_log is not None:
            access_log(finished)

    return report


def _check(settings: ServeSettings) -> None:
    """Refuse what says nothing, or of a model that is not served, or what can log nothing."""
    if not settings.models:
        raise ConfigError("no model is to be served", where="models", hint="Name a bundle.")
    for name in settings.features:
        if name not in settings.models:
            told = f"features are told of model {name!r}, which is not served"
            raise ConfigError(told, where="features", hint=suggest(name, settings.models))
    check_explored(settings.explore, settings.models, is_logged=settings.predictions is not None)
    if settings.predictions is not None:
        check_folder(settings.predictions.folder)


def _loaded(settings: ServeSettings, metrics: Metrics, stack: ExitStack) -> tuple[Catalog, Rankers]:
    """All models, and what ranks by them."""

    def scorers() -> set[Scorer]:
        return catalog.scorers()

    def admit(served: Served) -> None:
        if settings.predictions is not None:
            check_logged(served.scorer, served.profiles.values(), settings.predictions)
        rankers.admit(served)
        warm(served, rankers.of(served))

    def fits(served: Served, order: Order) -> None:
        if settings.predictions is not None:
            check_logged(served.scorer, [order], settings.predictions)

    linger = settings.linger_ms / 1e3
    rankers = Rankers(settings.features, linger=linger, told=metrics.passed, scorers=scorers)
    stack.callback(rankers.close)
    catalog = Catalog(
        settings.models,
        engine_of=_engine_of(settings),
        settings=settings.catalog,
        also=admit,
        fits=fits,
    )
    stack.enter_context(catalog)
    for name in catalog.names:
        rankers.of(catalog.take(name))
    return catalog, rankers


def _log(settings: ServeSettings, stack: ExitStack) -> PredictionLog | None:
    if settings.predictions is None:
        return None
    log = PredictionLog(settings.predictions.folder, settings.predictions)
    stack.callback(_end, log)
    return log


def _end(log: PredictionLog) -> None:
    """Finish the log, or tell what that leaves out."""
    if not log.close(LOG_SECONDS):
        told = "the prediction log could not be finished in %g s: %s lost"
        lost = counted(log.unfinished, "answered request")
        _logger.warning(told, LOG_SECONDS, lost)


def engine_for(bundle: Bundle, name: EngineName, precision: Precision, threads: int) -> Engine:
    """The engine of a version: the same one in the process that tries it and in the one that
    serves it, so none that is chosen by a measurement."""
    if name == "auto":
        name = "onnx" if find_graph(bundle.network, "fp32") is not None else "eager"
    return choose(bundle, name, precision=precision, threads=threads)


def _engine_of(settings: ServeSettings) -> EngineOf:
    return partial(
        engine_for,
        name=settings.engine,
        precision=settings.precision,
        threads=settings.threads,
    )


def read_token(file: Path | None) -> str | None:
    """The operators' token: a file's first line or, else, the environment's.

    Raises:
        ConfigError: It is shorter than ``MIN_TOKEN``, or the file cannot be read.
    """
    where = f"environment variable {TOKEN_VARIABLE}" if file is None else str(file)
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE)
        if token is None:
            return None
    else:
        try:
            token = file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError):
            raise ConfigError("cannot be read as text", where=where) from None
    if len(token) < MIN_TOKEN or not token.isascii() or " " in token:
        raise ConfigError(
            f"the token must be at least {MIN_TOKEN} ASCII characters without a space",
            where=where,
            hint="`openssl rand -hex 32` makes one.",
        )
    return token


def _count_elsewhere(metrics: Metrics, rankers: Rankers, log: PredictionLog | None) -> None:
    """Export what stores and the prediction log count themselves."""

    def stores() -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for model, tables in rankers.counts():
            for table, counts in tables.items():
                for event, number in counts.as_dict().items():
                    key = (model, table, event)
                    found[key] = found.get(key, 0.0) + number
        return found

    told = "What stores of features did, by event."
    metrics.counted_by("polyrank_feature_store", told, ("model", "table", "event"), stores)
    if log is not None:
        kept = log

        def logged() -> dict[tuple[str, ...], float]:
            return {(name,): float(number) for name, number in asdict(kept.counts()).items()}

        told = "Requests of the prediction log, by what became of them."
        metrics.counted_by("polyrank_prediction_log", told, ("event",), logged)
