"""How often verdicts err, and what they find: `python -m tests.audit.verdict_rates` prints it.

Shapes: S seeds, U users, R replicates.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyrank.audit.gain import gain_of
from polyrank.audit.resampling import draws_of
from polyrank.audit.verdict import Answer, Verdict, Verdicts, judge
from tests.audit.verdict_world import Task, World

MARGIN = 0.0005
PARTS = {
    "seeds": (1.0, 0.0, 0.0),
    "users": (0.0, 1.0, 0.0),
    "both": (0.0, 0.0, 1.0),
    "mixed": (1.0, 1.0, 1.0),
    "mostly seeds": (1.0, 0.2, 0.2),
    "mostly users": (0.2, 1.0, 0.2),
}
"""Variances of one seed's difference: of the seed, of the users, of both together."""


@dataclass(frozen=True)
class Held:
    """Shares of runs whose interval of 95 % holds the truth."""

    ours: float
    drawn_seeds: float
    """Of a bootstrap that draws seeds as well, and takes quantiles."""


def coverage(parts: str, seeds: int, runs: int, *, users: int = 100, resamples: int = 60) -> Held:
    """Of a mean over users that are drawn from a skewed distribution; its true gain is 0."""
    of_seed, of_users, of_both = np.sqrt(PARTS[parts])
    ours, drawn = [], []
    for run in range(runs):
        rng = np.random.default_rng((run, seeds, users))
        moves_SU = (
            of_seed * rng.normal(size=(seeds, 1))
            + of_users * np.sqrt(users) * (rng.exponential(size=users) - 1)
            + of_both * np.sqrt(users) * rng.normal(size=(seeds, users))
        )
        counts_RU = rng.multinomial(users, np.full(users, 1 / users), size=resamples)
        draws_SR = moves_SU @ counts_RU.T / users
        bounds = gain_of(moves_SU.mean(axis=1), draws_SR, users).interval(0.05)
        assert bounds is not None
        ours.append(bounds[0] <= 0 <= bounds[1])
        chosen_RS = rng.integers(0, seeds, (resamples, seeds))
        means_R = draws_SR[chosen_RS, np.arange(resamples)[:, None]].mean(axis=1)
        low, high = np.quantile(means_R, (0.025, 0.975))
        drawn.append(low <= 0 <= high)
    return Held(float(np.mean(ours)), float(np.mean(drawn)))


def verdicts(world: World, runs: int, *, seeds: int = 5, start: int = 0) -> list[Verdict]:
    """One verdict on AUC a run, each with users, labels and runs of its own."""
    found = []
    for run in range(start, start + runs):
        pairs = world.pairs(np.random.default_rng((run, 77)), seeds)
        draws = draws_of(Task(), "auc", pairs, resamples=60)
        judged = judge(draws, {"click": MARGIN})
        assert isinstance(judged, Verdicts)
        found.append(judged.tasks[0])
    return found


def answers(found: Sequence[Verdict]) -> dict[Answer, float]:
    """Shares of the answers."""
    counts = Counter(verdict.answer for verdict in found)
    return {answer: count / len(found) for answer, count in counts.items()}


def held(found: Sequence[Verdict], gain: float) -> float:
    """The share of intervals that hold ``gain``."""
    inside = [
        verdict.low is not None and verdict.high is not None and verdict.low <= gain <= verdict.high
        for verdict in found
    ]
    return float(np.mean(inside))


def detectable(found: Sequence[Verdict]) -> float:
    """The mean of the smallest effects that are found with 80 %."""
    return float(np.mean([verdict.detectable or np.nan for verdict in found]))


def losing(world: World, loss: float) -> World:
    """The same, the joint runs worse by ``loss`` of AUC."""
    low, high = world.twin, 4 * world.twin
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if replace(world, joint=middle).gain > -loss else (low, middle)
    return replace(world, joint=low)


def _main() -> None:
    write = sys.stdout.write
    write("an interval of 95 % holds the truth        2 seeds  3 seeds  5 seeds (seeds drawn)\n")
    for parts in PARTS:
        two, three, five = (coverage(parts, seeds, 1_000) for seeds in (2, 3, 5))
        write(
            f"  {parts:38} {two.ours:9.3f}{three.ours:9.3f}{five.ours:9.3f} "
            f"({five.drawn_seeds:.3f})\n"
        )
    write("AUC, 5 seeds, 60 draws of users, margin .0005\n")
    worlds = (
        (World(), 200),
        (World(users=400, rows_each=10, wobble=0.02), 100),
        (World(users=3_000, rows_each=10, wobble=0.01), 40),
    )
    for world, runs in worlds:
        for loss in (0.0, 0.005):
            worse = losing(world, loss) if loss else world
            found = verdicts(worse, runs)
            shares = {key: round(value, 3) for key, value in sorted(answers(found).items())}
            write(
                f"  {world.users} users, true gain {worse.gain:+.4f}, {runs} audits: {shares}, "
                f"interval holds it {held(found, worse.gain):.3f}, "
                f"detectable {detectable(found):.4f}\n"
            )


if __name__ == "__main__":
    _main()
