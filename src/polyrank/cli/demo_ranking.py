"""What the demo shows of ranking: one request, and what each order would bring.

Shapes: N rows, K candidates of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.cli.numbers import number, percent
from polyrank.cli.tables import WIDTH, show_cells, show_title
from polyrank.scoring import PREFIX
from polyrank.scoring.order import default_weights, score
from polyrank.simulation import observed

if TYPE_CHECKING:
    from rich.console import Console

    from polyrank.scoring import Scorer

HEADINGS = {"long_view": "long\nview", "purchase": "pur-\nchase", "watch_time": "watch\ntime"}
SEEN = 3
"""Places of a list that are taken to be looked at."""
Floats = NDArray[np.float64]


def show_request(out: Console, scorer: Scorer, log: pa.Table) -> None:
    """Rank the log's last whole request, and show what only the simulation knows beside it."""
    candidates = log.filter(pc.equal(log["request_id"], _last_whole(log)))
    ranked = scorer.rank(observed(candidates), keep=["position"]).to_pylist()
    truth = {row["item_id"]: row for row in candidates.to_pylist()}
    columns: dict[str, list[str]] = {
        "#": [str(place) for place in range(1, len(ranked) + 1)],
        "item": [str(row["item_id"]) for row in ranked],
        "was": [str(row["position"]) for row in ranked],
    }
    if out.width < WIDTH:
        del columns["item"]
    for task in scorer.bundle.schema.tasks:
        values = [row[PREFIX + task.name] for row in ranked]
        told = map(percent, values) if task.kind == "binary" else (f"{v:.1f} s" for v in values)
        columns[HEADINGS.get(task.name, task.name)] = list(told)
    columns["score"] = [number(row["score"]) for row in ranked]
    truths = [truth[row["item_id"]] for row in ranked]
    columns["satis-\nfied"] = [percent(row["truth_satisfaction"]) for row in truths]
    columns["click-\nbait"] = [f"{row['truth_clickbait']:+.1f}" for row in truths]
    show_title(out, "One request of that day, ranked anew")
    show_cells(out, list(columns), zip(*columns.values(), strict=True))
    out.print(
        "was: its place in the log. long_view, purchase and watch_time are given a click. In the\n"
        "score every objective counts about equally on average. Only a simulation knows the last\n"
        "two columns.",
        style="dim",
    )


def show_orders(out: Console, scorer: Scorer, log: pa.Table) -> None:
    """What the first places of each request would bring in three orders, by the truth."""
    predicted = scorer.score(observed(log))
    values = {task: predicted[PREFIX + task].to_numpy() for task in scorer.bundle.schema.task_names}
    weights = default_weights(scorer.bundle.schema, scorer.bundle.encoders.layout)
    request_N = log["request_id"].dictionary_encode().combine_chunks().indices.to_numpy()
    orders = {
        "as it was shown": -log["position"].to_numpy().astype(np.float64),
        "by clicks alone": values["click"],
        "by all objectives": score(scorer.bundle.schema, values, weights),
    }
    outcomes = _outcomes(log)
    rows = []
    for name, score_N in orders.items():
        seen = _first(request_N, score_N)
        rows.append([name, *(f"{1000 * value[seen].mean():,.1f}" for value in outcomes.values())])
    show_title(out, f"What 1,000 impressions in the first {SEEN} places of a list would bring")
    show_cells(out, ["order", *outcomes], rows, num_left=1)
    out.print(
        "all requests of that day, expected by the simulation's truth, if each place is looked at",
        style="dim",
    )


def _last_whole(log: pa.Table) -> object:
    """The last request that is not cut short."""
    counts = log.group_by("request_id", use_threads=False).aggregate([("item_id", "count")])
    sizes = counts["item_id_count"].to_numpy()
    return counts["request_id"][int(np.flatnonzero(sizes == sizes.max())[-1])]


def _outcomes(log: pa.Table) -> dict[str, Floats]:
    """(N,) expected events of each row, if it is looked at."""
    truth = {
        name.removeprefix("truth_"): log[name].to_numpy().astype(np.float64)
        for name in log.column_names
        if name.startswith("truth_")
    }
    click = truth["click_probability"]
    return {
        "clicks": click,
        "long\nviews": click * truth["long_view_probability"],
        "likes": click * truth["like_probability"],
        "purchases": click * truth["purchase_probability"],
        "reports": click * truth["report_probability"],
        "minutes\nwatched": click * truth["watch_time_s"] / 60,
    }


def _first(request_N: NDArray[np.integer], score_N: Floats) -> NDArray[np.bool_]:
    """The rows among the first places of their request; equal scores keep the given order."""
    order_N = np.lexsort((-score_N, request_N))
    starts_N = np.searchsorted(request_N[order_N], request_N[order_N])
    seen_N = np.zeros(len(order_N), dtype=np.bool_)
    seen_N[order_N] = np.arange(len(order_N)) - starts_N < SEEN
    return seen_N
