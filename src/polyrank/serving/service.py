"""What the server does with a request, apart from HTTP.

Shapes: N rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.scoring import SCORE, Order, weights_of
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.examples import example_of, recorded_of
from polyrank.serving.exploring import Explored, Listed, listed
from polyrank.serving.infer import PARAMETERS, ROWS, table_of, with_context
from polyrank.serving.metrics import Metrics
from polyrank.serving.models import DEFAULT, FAILURES, Catalog, Served, kind_of
from polyrank.serving.predictions import Answer, PredictionLog
from polyrank.serving.protocol import Answer as Encoded
from polyrank.serving.protocol import ModelSpec, infer_answer, parse_request
from polyrank.serving.rankers import Desk, Rankers
from polyrank.serving.ranking import Ask, PredictedRows, Ranked, answer_of, parse, refusals, timed
from polyrank.serving.recent import Recent

COMPARE_SECONDS = 10.0
"""That a second version has to score a request that was answered."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is known of a request beside its body."""

    request_id: str
    deadline: Deadline
    stages: dict[str, float]
    draw: str = field(default_factory=lambda: secrets.token_hex(16))
    """What noise is drawn by: a name that no client chooses."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """An answer, and how many candidates it was about."""

    answer: Encoded
    candidates: int
    log: Callable[[], object] | None = None
    """To be called once the answer is on its way; null: it is not logged."""


@dataclass(frozen=True)
class _Inferred:
    done: Done
    rows: PredictedRows


class Service:
    """Answers requests from the catalog; any number of threads may ask.

    Args:
        catalog: The models.
        rankers: What ranks by them.
        metrics: Where is counted.
        recent: Where what happened lately is kept.
        max_candidates: Of one request.
        predictions: Where answers are logged; null: nowhere.
        explored: How rankings are drawn; null: none is.
    """

    def __init__(
        self,
        catalog: Catalog,
        rankers: Rankers,
        metrics: Metrics,
        *,
        recent: Recent,
        max_candidates: int,
        predictions: PredictionLog | None = None,
        explored: Explored | None = None,
    ) -> None:
        self.catalog = catalog
        self.rankers = rankers
        self.metrics = metrics
        self.recent = recent
        self.predictions = predictions
        self._max_candidates = max_candidates
        self._explored = explored or {}

    def rank(self, body: bytes, call: Call) -> Done:
        """Answer ``POST /v1/rank``.

        Raises:
            RequestError: What the request did wrong, or that it is too late.
        """
        with timed(call.stages, "parse"):
            ask = parse(body, max_candidates=self._max_candidates)
            model = ask.model or self._only_model()
            taken = self.catalog.take(model, ask.version, request_id=call.request_id)

        def work(by: Served) -> tuple[Listed, bytes]:
            shown = self._ranked(by, ask, call)
            with timed(call.stages, "answer"):
                return shown, answer_of(by, shown.ranked, call.request_id, shown.answered)

        served, (shown, answer) = self._answered(taken, ask.version, call, work)
        ranked = shown.ranked
        self._tell(served, ranked)
        log = None
        if ask.value_model is None:
            self.recent.ranked(model, body, ranked.scored.score_N, ranked.predicted.predictions)
            log = self._logged(served, shown, call)
            if served is taken:
                self._compare(served, ranked, call, len(body))
        return Done(
            answer=Encoded(body=answer, headers={"content-type": "application/json"}),
            candidates=len(ask),
            log=log,
        )

    def infer(
        self, model: str, version: str | None, body: bytes, header_length: str | None, call: Call
    ) -> Done:
        """Answer an inference request of the Open Inference Protocol.

        Raises:
            RequestError: As ``rank``.
        """
        taken = self.catalog.take(model, version, request_id=call.request_id)

        def work(by: Served) -> _Inferred:
            return self._inferred(by, body, header_length, call)

        served, found = self._answered(taken, version, call, work)
        self.metrics.predicted(served, found.rows.predictions)
        self.metrics.wanting(served.model, found.rows.wanting)
        return found.done

    def _inferred(
        self, served: Served, body: bytes, header_length: str | None, call: Call
    ) -> _Inferred:
        desk = self.rankers.of(served)
        spec = spec_in_force(served, desk)
        with timed(call.stages, "parse"):
            caps = {ROWS: self._max_candidates}
            asked = parse_request(body, header_length, spec, caps=caps, parameters=PARAMETERS)
            order = served.order(str(asked.parameters.get("profile", DEFAULT)))
            rows = table_of(asked)
        scored = SCORE in {each.name for each in asked.outputs}
        context = order.columns if scored else ()
        deadline = call.deadline
        if timeout := asked.parameters.get("timeout"):
            deadline = deadline.tightened(float(timeout) * 1e-6)
        found = desk.ranker.predict_rows(rows, context, deadline, call.stages)
        outputs: dict[str, NDArray[Any]] = dict(found.predictions)
        if scored and SCORE not in outputs:
            outputs[SCORE] = _scores(order, found.predictions, found.columns)
        degraded = ",".join(f"{name}:{why}" for name, why in found.wanting.degraded.items())
        told = {"degraded": degraded} if degraded else {}
        with timed(call.stages, "answer"):
            answer = infer_answer(spec, asked, outputs, version=served.version, parameters=told)
        return _Inferred(Done(answer=answer, candidates=asked.sizes.get(ROWS, 0)), found)

    def desk(self, model: str, version: str | None = None) -> tuple[Served, Desk]:
        """A version and what ranks by it.

        Raises:
            RequestError: 404, there is none.
        """
        served = self.catalog.take(model, version)
        return served, self.rankers.of(served)

    def example(self, model: str) -> dict[str, Any]:
        """A ranking request that a model answers, with made-up values.

        Raises:
            RequestError: 404, there is no such model.
        """
        served, desk = self.desk(model)
        return example_of(served, desk, spec_in_force(served, desk))

    def recorded(self, model: str) -> dict[str, Any]:
        """A ranking request made of the rows that the version in service was tried on.

        Raises:
            RequestError: 404, there is no such model.
        """
        return recorded_of(*self.desk(model))

    def _only_model(self) -> str:
        names = list(self.catalog.names)
        if len(names) != 1:
            raise RequestError(400, f"`model` must be one of {', '.join(names)}"[:500])
        return names[0]

    def _tell(self, served: Served, ranked: Ranked) -> None:
        """Count what was answered."""
        self.metrics.predicted(served, ranked.predicted.predictions)
        self.metrics.wanting(served.model, ranked.predicted.tables.wanting)

    def _ranked(self, served: Served, ask: Ask, call: Call) -> Listed:
        ranker = self.rankers.of(served).ranker
        profiles = self._explored.get(served.model, {}) if ask.value_model is None else {}

        def rank(order: Order) -> Ranked:
            return ranker.rank(ask, order, call.deadline, call.stages)

        if ask.value_model is None:
            order = served.order(ask.profile)
        else:
            order = self.catalog.tried(served, ask.value_model)
        return listed(rank, order, profiles.get(ask.profile), call.draw)

    def _answered(
        self, taken: Served, version: str | None, call: Call, work: Callable[[Served], T]
    ) -> tuple[Served, T]:
        """What answers a request that named ``version``, and the answer.

        Where a canary fails, or refuses what the first version answers, the first version answers.
        """
        try:
            return taken, work(taken)
        except FAILURES as error:
            first = self.catalog.take(taken.model)
            if version is not None or first.content == taken.content or call.deadline.expired():
                raise
            answer = work(first)
            shadowing = self.catalog.shadowing(taken.model)
            if shadowing is not None and shadowing.second.content == taken.content:
                shadowing.failed(kind_of(error))
            return first, answer

    def _logged(self, served: Served, shown: Listed, call: Call) -> Callable[[], object] | None:
        """What logs the answer."""
        if self.predictions is None:
            return None
        ranked = shown.ranked
        ask, predicted = ranked.ask, ranked.predicted
        tables, user = predicted.tables, predicted.tables.user
        if not self.predictions.fits(user.nbytes * len(ask)):  # it stands with each candidate
            return None
        context = (*shown.order.columns, *served.scorer.segment_columns)
        return partial(
            self.predictions.append,
            Answer(
                request=call.request_id,
                at=datetime.now(UTC),
                model=served.model,
                version=served.content,
                schema=served.bundle.schema,
                rows=_whole(user, tables.rows),
                predictions=predicted.predictions,
                context=tuple(dict.fromkeys(context)),
                score_N=ranked.scored.score_N,
                position_N=ranked.position_N,
                num_shown=ask.top_k,
                value_version=served.values[ask.profile],
                profile=ask.profile,
                weights=weights_of(shown.order),
                propensity_N=shown.propensity_N,
                drawn=shown.drawn,
                draw=None if shown.drawn is None else call.draw,
                types=self.rankers.of(served).types,
                degraded=tuple(f"{name}:{why}" for name, why in tables.wanting.degraded.items()),
            ),
        )

    def _compare(self, served: Served, ranked: Ranked, call: Call, num_bytes: int) -> None:
        shadowing = self.catalog.shadowing(served.model)
        if shadowing is None or ranked.ask.version is not None:
            return

        def score(by: Served) -> tuple[NDArray[np.float64], float]:
            later = replace(call, deadline=Deadline.within(COMPARE_SECONDS), stages={})
            own = ranked if by is served else self._ranked(by, ranked.ask, later).ranked
            began = perf_counter()  # of a pass that shares with nobody and waits for no turn
            self.rankers.of(by).ranker.requests.predict([own.predicted.asked])
            return own.scored.score_N, perf_counter() - began

        shadowing.compare(call.request_id, served, score, num_bytes)


def spec_in_force(served: Served, desk: Desk) -> ModelSpec:
    """What a version takes and gives under the value models of its profiles."""
    columns = (name for order in served.profiles.values() for name in order.columns)
    return with_context(desk.spec, columns)


def _scores(
    order: Order,
    predictions: Mapping[str, NDArray[np.float64]],
    columns: Mapping[str, NDArray[Any]],
) -> NDArray[np.float64]:
    num_rows = len(next(iter(predictions.values())))
    with refusals():
        return order.score(predictions, np.zeros(num_rows, dtype=np.int64), columns).score_N


def _whole(user: pa.Table, rows: pa.Table) -> pa.Table:
    """The rows with the user's columns, one value for all."""
    for name in user.column_names:
        if name and name not in rows.column_names:
            rows = rows.append_column(name, pa.repeat(user[name][0], rows.num_rows))
    return rows
