"""A small search on a simulated log, as a page shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrank.evaluation import Observations
from polyrank.fusion import Candidates, WeightedSum
from polyrank.fusion.tuning import (
    CEM,
    NDCG,
    Hold,
    Replayed,
    Settings,
    Task,
    Tuned,
    Value,
    check_later,
    search,
    told,
)
from polyrank.schema import Binary, Keys, Numeric, Schema

NAMES = ("click", "like", "share", "report")
_TODAY = (1.0, 0.5, 0.0, -5.0)
_RATES = (0.35, 0.2, 0.12, 0.06)


def searched(
    names: Sequence[str] = NAMES,
    *,
    at_least: float = 0.97,
    trials: int = 240,
    resamples: int = 60,
    later: bool = True,
    rows: int = 3000,
) -> Tuned:
    """Of the first name's clicks a share is held, the worth of the others is raised."""
    click, like, share, report = names
    worth = {click: 1.0, like: 6.0, share: 15.0, report: -40.0}
    log, today_N = _log(names, rows, 1, "part `validation`")
    task = Task(
        log=log,
        model=WeightedSum(terms=worth),
        demotion=None,
        today_N=today_N,
        today_weights=dict(zip(names, _TODAY, strict=True)),
        settings=Settings(
            objectives=(Value(worth=worth, k=5), NDCG(task=click), NDCG(task=share)),
            guardrails=(
                Hold(of=NDCG(task=click), at_least=at_least),
                Hold(of=Value(worth={report: 1.0}, k=5), at_most=1.05),
            ),
            primary=Value(worth=worth, k=5).name,
            search=CEM(trials=trials),
            resamples=resamples,
        ),
        bundle="5f0c2a9be1d44b7f",
    )
    found = search(task)
    tuned = told(found)
    if not later:
        return tuned
    there = check_later(found, tuned, *_log(names, rows, 2, "the day after"))
    return tuned.model_copy(update={"later": there})


def _log(
    names: Sequence[str], rows: int, seed: int, on: str
) -> tuple[Replayed, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    rng = np.random.default_rng(seed)
    mix = np.eye(4) + 0.4 * rng.random((4, 4))
    taste_NT = rng.normal(size=(rows, 4)) @ np.random.default_rng(0).permuted(mix, axis=0)
    prob_NT = np.array(_RATES) * np.exp(0.5 * taste_NT - 0.3)
    prob_NT = np.clip(prob_NT, 0.001, 0.95)
    label_NT = (rng.random((rows, 4)) < prob_NT).astype(float)
    probs = dict(zip(names, prob_NT.T, strict=True))
    request_N = np.arange(rows) // 15
    groups = {"request": request_N, "user": request_N // 2}
    log = Replayed(
        schema=Schema(
            features=(Numeric(name="x"),),
            tasks=tuple(Binary(name=name) for name in names),
            keys=Keys(request="request", user="user"),
        ),
        rows=Observations(
            predictions=probs,
            labels=dict(zip(names, label_NT.T, strict=True)),
            masks={name: np.ones(rows, dtype=np.bool_) for name in names},
            groups=groups,
        ),
        candidates=Candidates(predictions=probs, request_N=request_N),
        on=on,
    )
    return log, prob_NT @ np.array(_TODAY)
