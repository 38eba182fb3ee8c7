"""Every search under one contract: reproducible, inside the box, better than nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.errors import ConfigError
from polyrank.fusion.tuning import CEM, NSGA2, SEARCHES, TPE, Random, Search
from polyrank.fusion.tuning.searches.base import Problem, Told, ordered

Floats = NDArray[np.float64]
PROBLEM = Problem(
    weights=("a", "b", "c"),
    objectives=("near 0", "near 1"),
    guardrails=("c at most .6",),
    start_W=np.full(3, 0.5),
)
CASES: dict[str, Search] = {
    "cem": CEM(population=20),
    "nsga2": NSGA2(population=12),
    "random": Random(),
    "tpe": TPE(startup=8),
}


def answer(point_BW: Floats) -> Told:
    """Near the line from (0, 0) to (1, 1), in the first two."""
    off_B = (point_BW[:, 0] - point_BW[:, 1]) ** 2
    value_BM = np.stack([-(point_BW[:, 0] ** 2) - off_B, -((1 - point_BW[:, 0]) ** 2) - off_B], 1)
    return Told(value_BM, 0.6 - point_BW[:, 2:])


def points(search: Search, seed: int, trials: int) -> Floats:
    asking = search.ask(PROBLEM, seed)
    batches = [next(asking)]
    while sum(map(len, batches)) < trials:
        batches.append(asking.send(answer(batches[-1])))
    return np.concatenate(batches)


def test_every_search_is_under_contract() -> None:
    assert set(CASES) == set(SEARCHES)
    assert all(type(case) is SEARCHES[kind] for kind, case in CASES.items())
    assert all(cls.model_fields["kind"].default == kind for kind, cls in SEARCHES.items())


@pytest.mark.parametrize("kind", CASES)
def test_the_same_seed_gives_the_same_points(kind: str) -> None:
    found = points(CASES[kind], 7, 60)
    assert np.array_equal(found, points(CASES[kind], 7, 60))
    assert not np.array_equal(found[1:], points(CASES[kind], 8, 60)[1:])
    assert np.array_equal(found[0], PROBLEM.start_W)
    assert found.shape[1] == 3
    assert ((found >= 0) & (found <= 1)).all()
    assert len(np.unique(found[:, 0])) > 15


@pytest.mark.parametrize("kind", ["cem", "nsga2", "tpe"])
def test_later_points_are_better_and_hold_what_is_held(kind: str) -> None:
    found = points(CASES[kind], 1, 240)
    first, last = found[1:60], found[-60:]
    off = [float(np.abs(part[:, 0] - part[:, 1]).mean()) for part in (first, last)]
    assert off[1] < 0.85 * off[0]
    assert (last[:, 2] <= 0.6).mean() > max(0.8, (first[:, 2] <= 0.6).mean())


def test_feasible_first_then_by_score_then_by_what_is_missed() -> None:
    missed_B = np.array([0.2, 0.0, 0.1, 0.0])
    assert ordered(missed_B, np.array([9.0, 1.0, 9.0, 2.0])).tolist() == [3, 1, 2, 0]
    told = Told(np.zeros((2, 1)), np.array([[0.5, -0.25], [-0.5, -0.25]]))
    assert told.missed_B.tolist() == [0.25, 0.75]


def test_cem_needs_no_guardrail_and_finds_one_best() -> None:
    problem = Problem(weights=("a", "b"), objectives=("o",), guardrails=(), start_W=np.zeros(2))
    asking = CEM(population=40).ask(problem, 0)
    point_BW = next(asking)
    for _ in range(15):
        value_B = -((point_BW - [0.3, 0.8]) ** 2).sum(axis=1)
        point_BW = asking.send(Told(value_B[:, None], np.empty((len(point_BW), 0))))
    assert np.abs(point_BW.mean(axis=0) - [0.3, 0.8]).max() < 0.02


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_without_optuna(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    asking = CASES[kind].ask(PROBLEM, 0)
    first = next(asking)
    with pytest.raises(ConfigError, match=r"not installed. Install the extra: pip install 'polyra"):
        asking.send(answer(first))
