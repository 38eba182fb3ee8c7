"""Small logs to tune on, with everything that makes them awkward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation import Observations
from polyrank.fusion import Candidates, ValueModel, WeightedSum
from polyrank.fusion.tuning import NDCG, Hold, Random, Replayed, Settings, Task
from polyrank.schema import Binary, Duration, Keys, Numeric, Schema

TASKS = ("click", "like", "purchase", "report", "watch")
SCHEMA = Schema(
    features=(Numeric(name="x"),),
    tasks=(
        Binary(name="click"),
        Binary(name="like", keep_rate=0.5),
        Binary(name="purchase", within="click"),
        Binary(name="report", sign="bad"),
        Duration(name="watch", unit="s"),
    ),
    keys=Keys(request="request", user="user"),
)
START = {"click": 1.0, "like": 2.0, "purchase": 4.0, "report": -3.0, "watch": 0.1}


def log(
    seed: int = 0,
    *,
    rows: int = 240,
    longest: int = 12,
    ties: bool = True,
    weighted: bool = False,
    nulls: bool = True,
) -> Replayed:
    """Rows whose predictions say something of their labels."""
    rng = np.random.default_rng(seed)
    request_N = np.repeat(np.arange(rows), rng.integers(1, longest + 1, rows))[:rows]
    if nulls:
        request_N = np.where(rng.random(rows) < 0.05, -1, request_N)
    user_N = np.where(request_N < 0, -1, request_N // 3)
    predictions = {task: rng.random(rows) for task in TASKS}
    labels = {
        task: (rng.random(rows) < value_N**2).astype(np.float64)
        for task, value_N in predictions.items()
    }
    labels["watch"] = labels["click"] * rng.lognormal(1, 1, rows)
    masks = {task: rng.random(rows) < 0.9 for task in TASKS}
    masks["purchase"] &= labels["click"] > 0
    if ties:
        predictions = {task: np.round(value_N, 1) for task, value_N in predictions.items()}
    weights = None
    if weighted:
        weights = np.where(rng.random(rows) < 0.1, 0.0, 1.0 + (user_N % 3))
    return replayed(predictions, labels, masks, request_N, user_N, weights)


def replayed(
    predictions: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
    masks: Mapping[str, NDArray[Any]],
    request_N: NDArray[Any],
    user_N: NDArray[Any],
    weights: NDArray[Any] | None = None,
) -> Replayed:
    """These columns as a log."""
    rows = Observations(
        predictions=predictions,
        labels=labels,
        masks=masks,
        weights=weights,
        keep_rates=SCHEMA.keep_rates,
        groups={"request": request_N, "user": user_N},
    )
    own_N = np.where(request_N < 0, len(request_N) + np.arange(len(request_N)), request_N)
    return Replayed(
        schema=SCHEMA,
        rows=rows,
        candidates=Candidates(
            predictions=predictions,
            request_N=own_N,
            columns={"author": np.arange(len(request_N)) % 4},
        ),
        on="a small log",
    )


def permuted(found: Replayed, order_N: NDArray[np.intp]) -> Replayed:
    """The same rows in another order."""
    rows = found.rows
    return replayed(
        {task: value[order_N] for task, value in rows.predictions.items()},
        {task: value[order_N] for task, value in rows.labels.items()},
        {task: value[order_N] for task, value in rows.masks.items()},
        rows.groups["request"][order_N],
        rows.groups["user"][order_N],
        None if rows.weights is None else rows.weights[order_N],
    )


def task(
    settings: Settings | None = None, model: ValueModel | None = None, seed: int = 0, **other: Any
) -> Task:
    """Clicks alone rank by now; all five weights are searched."""
    found = other.pop("log", None) or log(seed)
    return Task(
        log=found,
        model=model or WeightedSum(terms=START),
        demotion=other.pop("demotion", None),
        today_N=other.pop("today_N", found.rows.predictions["click"]),
        today_weights=other.pop("today_weights", None),
        settings=settings or some_settings(),
        bundle="a bundle",
    )


def some_settings(**other: Any) -> Settings:
    """Two objectives and a guardrail."""
    return Settings(
        **{
            "objectives": (NDCG(task="like"), NDCG(task="watch")),
            "guardrails": (Hold(of=NDCG(task="click"), at_least=0.9),),
            "search": Random(trials=150),
            "resamples": 0,
            **other,
        }
    )
