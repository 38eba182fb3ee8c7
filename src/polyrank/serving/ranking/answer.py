"""The answer to a ranking request, as JSON.

Shapes: N candidates, K answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from orjson import Fragment

from polyrank.serving.errors import RequestError
from polyrank.serving.models import Served
from polyrank.serving.protocol import dumps
from polyrank.serving.ranking.ask import Ask
from polyrank.serving.ranking.listing import Named, listing
from polyrank.serving.ranking.ranker import Ranked


def answer_of(
    served: Served, ranked: Ranked, request_id: str, drawn: Mapping[str, Any] | None = None
) -> bytes:
    """The body of the answer.

    Args:
        served: What answers.
        ranked: What it answers.
        request_id: The request's.
        drawn: What was drawn for this request; null: nothing was.

    Raises:
        RequestError: 500, a prediction is not finite.
    """
    ask, tables = ranked.ask, ranked.predicted.tables
    wanting = tables.wanting
    told: dict[str, Any] = {
        "request_id": request_id,
        "model": served.model,
        "version": served.version,
        "value_model": _value_model(served, ask) | ({} if drawn is None else {"drawn": drawn}),
        "candidates": Fragment(_candidates(ranked)),
    }
    beside = {
        "degraded": dict(wanting.degraded),
        "unknown": {name: count for name, count in wanting.unknown.items() if count},
        "missing": list(wanting.missing),
        "ignored": list(tables.ignored),
    }
    return dumps(told | {name: value for name, value in beside.items() if value})


def _value_model(served: Served, ask: Ask) -> dict[str, Any]:
    if ask.value_model is not None:
        return {"profile": None, "version": None}
    return {"profile": ask.profile, "version": served.values[ask.profile]}


def _candidates(ranked: Ranked) -> bytes:
    order_K, items = ranked.order_K, ranked.ask.items
    groups = {"predictions": _taken(ranked.predicted.predictions, order_K)}
    terms = _taken(ranked.scored.terms, order_K) if ranked.ask.explain else {}
    return listing(
        [items[place] for place in order_K.tolist()],
        order_K,
        _finite(ranked.scored.score_N[order_K]),
        groups | ({"terms": terms} if terms else {}),
    )


def _taken(values: Named, order_K: NDArray[np.int64]) -> Named:
    return {name: _finite(value_N[order_K]) for name, value_N in values.items()}


def _finite(value_K: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(value_K).all():
        raise RequestError(500, "the model's answer is not finite")
    return value_K
