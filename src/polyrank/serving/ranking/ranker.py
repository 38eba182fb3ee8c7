"""One request from its ask to its answer, all from one version of a model.

Shapes: N candidates, K answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.errors import DataError, PolyrankError
from polyrank.fusion import Scored
from polyrank.scoring import Asked, Order, RequestScorer, Scorer
from polyrank.scoring.scorer import Predictions
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.ranking.ask import Ask
from polyrank.serving.ranking.batcher import Batcher, Pass, untold
from polyrank.serving.ranking.tables import Provider, TableMaker, Tables, Wanting

Stages = dict[str, float]
"""Seconds by stage."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """What is known of the candidates before they are put in order."""

    tables: Tables
    asked: Asked
    predictions: Predictions
    """(N,) by task, calibrated, in the label's unit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedRows:
    """What is known of rows of which each brings its own user."""

    predictions: Predictions
    """(N,) by task, calibrated, in the label's unit."""
    columns: Mapping[str, NDArray[Any]]
    """(N,) by name: what calibration and value model read beside."""
    wanting: Wanting


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """What a request is answered with."""

    ask: Ask
    predicted: Predicted
    scored: Scored
    """(N,) The scores, and what each term gives."""
    order_K: NDArray[np.int64]
    """The places of the candidates that are answered, best first; equal scores stand as given."""
    position_N: NDArray[np.int64]
    """Each candidate's rank, from 1."""


class ModelRanker:
    """Ranks by one version of a model; any number of threads may ask.

    Args:
        scorer: Bundle and engine.
        provider: Knows features by id.
        linger: As of ``Batcher``.
        told: Called with each pass.
    """

    def __init__(
        self,
        scorer: Scorer,
        provider: Provider,
        *,
        linger: float = 0.0,
        told: Callable[[Pass], None] = untold,
    ) -> None:
        self.requests = RequestScorer(scorer)
        self.provider = provider
        bundle = scorer.bundle
        self._tables = TableMaker(
            bundle.schema,
            self.requests.user_columns,
            self.requests.row_columns,
            provider,
            {
                side.name: set(bundle.tables[side.name].column_names) - {side.key}
                for side in bundle.schema.tables
            },
            self.requests.ready,
        )
        self._batcher = Batcher(self.requests, linger=linger, told=told)

    def rank(self, ask: Ask, order: Order, deadline: Deadline, stages: Stages) -> Ranked:
        """Rank the candidates of a request.

        Args:
            ask: The request.
            order: What puts them in order.
            deadline: By which it is answered.
            stages: Seconds by stage are added to it.

        Raises:
            RequestError: 400, what was asked for cannot be scored; 504, it is too late.
        """
        predicted = self.predict(ask, order.columns, deadline, stages)
        with timed(stages, "order"), refusals():
            request_N = np.zeros(len(ask), dtype=np.int64)
            scored = order.score(predicted.predictions, request_N, predicted.asked.columns)
        best_N = np.argsort(-scored.score_N, kind="stable")
        position_N = np.empty(len(ask), dtype=np.int64)
        position_N[best_N] = np.arange(1, len(ask) + 1)
        return Ranked(
            ask=ask,
            predicted=predicted,
            scored=scored,
            order_K=best_N[: ask.top_k],
            position_N=position_N,
        )

    def predict(
        self, ask: Ask, context: Sequence[str], deadline: Deadline, stages: Stages
    ) -> Predicted:
        """Predict every task for the candidates of a request.

        Args:
            ask: The request.
            context: What a value model will read of it.
            deadline: As in ``rank``.
            stages: As in ``rank``.

        Raises:
            RequestError: As ``rank``.
        """
        needed = (*context, *self.requests.scorer.segment_columns)
        with timed(stages, "features"), refusals():
            tables = self._tables.make(ask, needed, deadline)
            _check_context(needed, tables)
        with timed(stages, "encode"), refusals():
            asked = self._encoded(tables, context)
        with timed(stages, "model"):
            predictions = self._batcher.predict(asked, deadline)
        return Predicted(tables=tables, asked=asked, predictions=predictions)

    def _encoded(self, tables: Tables, context: Sequence[str]) -> Asked:
        if not tables.parted:
            return self.requests.encode_rows(tables.rows, context)
        user, rows = tables.halves
        if user.joined or rows.joined:
            with suppress(DataError):  # of all columns: it is told in those words
                return self.requests.encode(
                    user.given,
                    rows.given,
                    context,
                    of_user=tuple(user.joined.values()),
                    of_rows=tuple(rows.joined.values()),
                )
        return self.requests.encode(tables.user, tables.rows, context)

    def predict_rows(
        self, rows: pa.Table, context: Sequence[str], deadline: Deadline, stages: Stages
    ) -> PredictedRows:
        """Predict every task for rows of which each brings its own user.

        Args:
            rows: (N rows) What is given of them.
            context: As in ``predict``.
            deadline: As in ``rank``.
            stages: As in ``rank``.

        Raises:
            RequestError: As ``rank``.
        """
        with timed(stages, "features"), refusals():
            rows, wanting = self._tables.complete_rows(rows, deadline)
        with timed(stages, "encode"), refusals():
            asked = self.requests.encode_rows(rows, context)
        with timed(stages, "model"):
            predictions = self._batcher.predict(asked, deadline)
        return PredictedRows(predictions=predictions, columns=asked.columns, wanting=wanting)


@contextmanager
def timed(stages: Stages, stage: str) -> Iterator[None]:
    """Adds the seconds of the block to its stage."""
    began = monotonic()
    try:
        yield
    finally:
        stages[stage] = stages.get(stage, 0.0) + monotonic() - began


@contextmanager
def refusals() -> Iterator[None]:
    """What the request cannot have of the model is the request's fault."""
    try:
        yield
    except PolyrankError as error:
        raise RequestError(400, str(error)) from error


def _check_context(needed: Sequence[str], tables: Tables) -> None:
    there = {name for half in tables.halves for name in half.names}
    for name in needed:
        if name not in there:
            raise RequestError(
                400, f"the ranking reads {name!a}: give it in `context`, or with each candidate"
            )
