"""The answer to a ranking request, as JSON.

Shapes: N candidates, K answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.serving.errors import RequestError
from polyrank.serving.models import Served
from polyrank.serving.protocol import dumps
from polyrank.serving.ranking.ask import Ask
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
    told: dict[str, Any] = {
        "request_id": request_id,
        "model": served.model,
        "version": served.version,
        "value_model": _value_model(served, ask) | ({} if drawn is None else {"drawn": drawn}),
        "candidates": _candidates(ranked),
    }
    beside = {
        "degraded": dict(tables.degraded),
        "unknown": {name: count for name, count in tables.unknown.items() if count},
        "missing": list(tables.missing),
        "ignored": list(tables.ignored),
    }
    return dumps(told | {name: value for name, value in beside.items() if value})


def _value_model(served: Served, ask: Ask) -> dict[str, Any]:
    if ask.value_model is not None:
        return {"profile": None, "version": None}
    return {"profile": ask.profile, "version": served.values[ask.profile]}


def _candidates(ranked: Ranked) -> list[dict[str, Any]]:
    order_K = ranked.order_K
    tasks = _taken(ranked.predicted.predictions, order_K)
    terms = _taken(ranked.scored.terms, order_K) if ranked.ask.explain else {}
    scores = _finite(ranked.scored.score_N[order_K]).tolist()
    predictions = [
        dict(zip(tasks, values, strict=True)) for values in zip(*tasks.values(), strict=True)
    ]
    items = ranked.ask.items
    answered = []
    for rank, place in enumerate(order_K.tolist()):
        entry = {
            "id": items[place],
            "index": place,
            "score": scores[rank],
            "predictions": predictions[rank],
        }
        if terms:
            entry["terms"] = {name: values[rank] for name, values in terms.items()}
        answered.append(entry)
    return answered


def _taken(values: Any, order_K: NDArray[np.int64]) -> dict[str, list[float]]:
    return {name: _finite(value_N[order_K]).tolist() for name, value_N in values.items()}


def _finite(value_K: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(value_K).all():
        raise RequestError(500, "the model's answer is not finite")
    return value_K
