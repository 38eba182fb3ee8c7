"""The answer to a ranking request, as JSON.

Shapes: N candidates, K answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        RequestError: 500, a prediction, term or score is not finite.
    """
    ask, tables = ranked.ask, ranked.predicted.tables
    wanting = tables.wanting
    told: dict[str, Any] = {
        "request_id": request_id,
        "model": served.model,
        "version": served.version,
        "value_model": _value_model(served, ask) | ({} if drawn is None else {"drawn": drawn}),
    }
    beside = {
        "degraded": dict(wanting.degraded),
        "unknown": {name: count for name, count in wanting.unknown.items() if count},
        "missing": list(wanting.missing),
        "ignored": list(tables.ignored),
    }
    head, rest = dumps(told), dumps({name: value for name, value in beside.items() if value})
    # The candidates' numbers are checked by the column; within one document they would be again.
    comma = b"," if len(rest) > 2 else b""
    return b"".join((head[:-1], b',"candidates":', _candidates(ranked), comma, rest[1:]))


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
        ranked.scored.score_N[order_K],
        groups | ({"terms": terms} if terms else {}),
    )


def _taken(values: Named, order_K: NDArray[np.int64]) -> Named:
    return {name: value_N[order_K] for name, value_N in values.items()}
