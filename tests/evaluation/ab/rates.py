"""How often experiments on skewed users err: `python -m tests.evaluation.ab.rates` prints it.

Shapes: R runs, U users, L looks.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation.ab import Arm, Experiment, Primary, analyse

Floats = NDArray[np.float64]
METRICS = ("watch", "watch_cuped", "ctr", "ctr_cuped")
LOOKS = 20
MEAN_WATCH = math.exp(0.5 + 0.125)
MEAN_CTR = 0.1 + 0.5 * 2 / 7


def arm(rng: np.random.Generator, users: int, lift: float = 0.0) -> Arm:
    """Lognormal watch time and clicks per impression; ``lift`` multiplies both."""
    skill_U = rng.lognormal(0, 1, users)
    taste_U = 0.1 + 0.5 * rng.beta(2, 5, users)
    seen_U, seen_before_U = (rng.poisson(5 * skill_U) + 1 for _ in range(2))
    clicks_U = rng.binomial(seen_U, taste_U * (1 + lift))
    watch_U = skill_U * rng.lognormal(0, 0.5, users) * (1 + lift)
    before_U = skill_U * rng.lognormal(0, 0.5, users)
    clicks_before_U = rng.binomial(seen_before_U, taste_U)
    return Arm(
        numerators={
            "watch": watch_U,
            "watch_cuped": watch_U,
            "ctr": clicks_U,
            "ctr_cuped": clicks_U,
        },
        denominators={"ctr": seen_U, "ctr_cuped": seen_U},
        covariates={
            "watch_cuped": before_U,
            "ctr_cuped": np.stack([clicks_before_U, seen_before_U], axis=1),
        },
    )


@dataclass(frozen=True)
class Rates:
    """Over R runs, by metric, of the difference and of the relative lift."""

    found: dict[tuple[str, str], float]
    """The interval of one look leaves out 0."""
    covered: dict[tuple[str, str], float]
    """It holds the truth."""
    detectable: dict[str, float]
    """Mean smallest relative lift found with 80 %."""
    reduction: dict[str, float]
    """Mean variance reduction."""


def one_look(runs: int, users: int, lift: float = 0.0, seed: int = 0) -> Rates:
    """Two arms of ``users`` each, of which one is lifted."""
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    covered: dict[tuple[str, str], list[bool]] = defaultdict(list)
    detectable, reduction = defaultdict(list), defaultdict(list)
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        experiment = _analysed(arm(rng, users), arm(rng, users, lift))
        for metric, effect in experiment.effects.items():
            mean = MEAN_WATCH if metric.startswith("watch") else MEAN_CTR
            for kind, truth in (("difference", lift * mean), ("relative", lift)):
                interval = getattr(effect, kind).fixed
                found[metric, kind].append(not interval.lower <= 0 <= interval.upper)
                covered[metric, kind].append(interval.lower <= truth <= interval.upper)
            detectable[metric].append(effect.relative.detectable())
            reduction[metric].append(effect.variance_reduction)
    return Rates(
        found={key: float(np.mean(flags)) for key, flags in found.items()},
        covered={key: float(np.mean(flags)) for key, flags in covered.items()},
        detectable={metric: float(np.mean(values)) for metric, values in detectable.items()},
        reduction={metric: float(np.mean(values)) for metric, values in reduction.items()},
    )


@dataclass(frozen=True)
class Peeking:
    """Shares of runs whose interval leaves out 0 at any of the looks, and at the last."""

    always: float
    fixed: float
    always_last: float


def arriving(runs: int, users: int, lift: float = 0.0, seed: int = 1) -> Peeking:
    """``users`` an arm arrive evenly over the looks, each once."""
    worlds = []
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        both = [np.asarray(arm(rng, users, at).numerators["watch"]) for at in (0.0, lift)]
        ends = np.linspace(users / LOOKS, users, LOOKS).astype(int)
        worlds.append([tuple(values[:end] for values in both) for end in ends])
    return _peek(worlds, 2 * users)


def returning(runs: int, users: int, seed: int = 2) -> Peeking:
    """All users are there on the first day and come again every day; sums grow."""
    worlds = []
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        days = [
            (rng.lognormal(0, 1, users) * rng.lognormal(0, 1, (LOOKS, users))).cumsum(axis=0)
            for _ in range(2)
        ]
        worlds.append([(days[0][day], days[1][day]) for day in range(LOOKS)])
    return _peek(worlds, 2 * users)


def _peek(worlds: Sequence[Sequence[tuple[Floats, ...]]], planned: int) -> Peeking:
    always, fixed, last = [], [], []
    for looks in worlds:
        differences = [
            _analysed(
                Arm(numerators={"watch": reference_U}),
                Arm(numerators={"watch": treatment_U}),
                planned,
            )
            .effects["watch"]
            .difference
            for reference_U, treatment_U in looks
        ]
        excluded = [not d.always.lower <= 0 <= d.always.upper for d in differences]
        always.append(any(excluded))
        last.append(excluded[-1])
        fixed.append(any(not d.fixed.lower <= 0 <= d.fixed.upper for d in differences))
    return Peeking(float(np.mean(always)), float(np.mean(fixed)), float(np.mean(last)))


def _analysed(reference: Arm, treatment: Arm, planned: int | None = None) -> Experiment:
    return analyse(reference, treatment, primary=Primary(metric="watch"), planned_users=planned)


def _main() -> None:
    write = sys.stdout.write
    none, some = one_look(1_000, 500), one_look(1_000, 500, lift=0.2)
    write("metric      kind        A/A found  lift 20 %: found  covered  detectable  reduction\n")
    for metric in METRICS:
        for kind in ("difference", "relative"):
            key = metric, kind
            write(
                f"{metric:11} {kind:11} {none.found[key]:9.3f} {some.found[key]:17.3f} "
                f"{some.covered[key]:8.3f} {some.detectable[metric]:11.3f} "
                f"{some.reduction[metric]:10.3f}\n"
            )
    write(f"20 looks, users arrive:  {arriving(1_000, 1_000)}\n")
    write(f"20 looks, users return:  {returning(1_000, 1_000)}\n")
    write(f"20 looks, lift of 20 %:  {arriving(500, 1_000, lift=0.2)}\n")


if __name__ == "__main__":
    _main()
