"""How often intervals hold the truth: `python -m tests.fusion.off_policy.coverage` prints it.

Shapes: L logs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import DataError
from polyrank.fusion.off_policy import (
    IPS,
    SNIPS,
    ClippedIPS,
    DoublyRobust,
    Estimate,
    Estimator,
    Logged,
)
from tests.fusion.off_policy.feed import feed_logs
from tests.fusion.off_policy.world import world

Floats = NDArray[np.float64]
UNCUT = 1e6
ROWS = 12_000
REQUESTS = 1_000
SHOWN: tuple[Estimator, ...] = (
    IPS(),
    ClippedIPS(cap=UNCUT),
    ClippedIPS(cap=6),
    ClippedIPS(cap=3),
    SNIPS(),
    DoublyRobust(),
)


@dataclass(frozen=True)
class Measured:
    """Estimates of many logs beside the truth."""

    truth: float
    estimates: tuple[Estimate, ...]
    refused: int

    @property
    def value_L(self) -> Floats:
        return np.array([estimate.value for estimate in self.estimates])

    @property
    def bias(self) -> float:
        return float(np.mean(self.value_L)) - self.truth

    @property
    def spread(self) -> float:
        return float(np.std(self.value_L, ddof=1))

    @property
    def bias_in_errors(self) -> float:
        """In standard errors of the mean over logs."""
        return self.bias / self.spread * math.sqrt(len(self.value_L))

    @property
    def coverage(self) -> float:
        held = [found.lower <= self.truth <= found.upper for found in self.estimates]
        return float(np.mean(held))


def measured(
    estimator: Estimator, logs: range, make: Callable[[int], Logged], truth: float
) -> Measured:
    estimates = []
    for seed in logs:
        try:
            estimates.append(estimator.estimate(make(seed)))
        except DataError:
            continue
    return Measured(truth, tuple(estimates), len(logs) - len(estimates))


def rare(seed: int, rows: int = ROWS, share: float = 0.01) -> tuple[Logged, float]:
    """A log in which rewards are hundred times as rare, and the truth."""
    whole = world()
    logged = whole.log(rows // 5, seed)
    kept_N = np.random.default_rng((8, seed)).random(len(logged)) < share
    reward_N = logged.reward_N * kept_N
    return Logged(reward_N, logged.propensity_N, logged.target_N), whole.truth * share


def lines(num_logs: int) -> Iterator[str]:
    whole = world()
    yield f"truth {whole.truth:.4f}; {num_logs} logs of 400 users, 5 decisions each"
    for estimator in SHOWN:
        found = measured(
            estimator, range(num_logs), lambda seed: whole.log(400, seed, error=0.1), whole.truth
        )
        one = found.estimates[0]
        yield (
            f"{estimator.kind} {getattr(estimator, 'cap', '')}: bias {found.bias:+.4f} "
            f"({found.bias_in_errors:+.1f} errors), spread {found.spread:.4f}, coverage "
            f"{found.coverage:.3f}, effective {one.effective_rows:.0f} of {one.rows}, "
            f"cut {one.clipped_share:.3f}, refused {found.refused}"
        )
    for rows in (1000, 3000, ROWS, 2 * ROWS):
        held, told = rarely_held(num_logs, rows)
        yield (
            f"ips, a reward in {1 / rare(0)[1]:.0f} rows, {rows} rows: coverage {held:.3f} if "
            f"nothing were refused; told {told:.3f} of logs"
        )


def list_lines(num_logs: int) -> Iterator[str]:
    """Of the simulated feed: the first place as served, and three places of noisy rankings."""
    feed = feed_logs(num_logs, REQUESTS)
    for places, temperature in ((1, 0.0), (3, 1.0)):
        truth = feed.truth(places, temperature)
        yield (
            f"feed: {num_logs} logs of {REQUESTS} requests, places {places}, temperature "
            f"{temperature}, truth {truth:.4f}, logged {feed.click_RK[:, :places].mean():.4f}"
        )
        logs = [feed.log(number, places, temperature, 0.3) for number in range(num_logs)]
        for estimator in (IPS(), SNIPS(), DoublyRobust()):
            found = measured(estimator, range(num_logs), logs.__getitem__, truth)
            one = found.estimates[0]
            yield (
                f"{estimator.kind}: bias {found.bias:+.4f} ({found.bias_in_errors:+.1f} errors), "
                f"spread {found.spread:.4f}, coverage {found.coverage:.3f}, effective "
                f"{one.effective_rows:.0f} of {one.rows}, refused {found.refused}"
            )


def rarely_held(num_logs: int, rows: int) -> tuple[float, float]:
    """The coverage of IPS that refuses nothing it can put a number to, and how often it does."""
    held, told = 0, 0
    for seed in range(num_logs):
        logged, truth = rare(seed, rows)
        if len(np.unique(logged.reward_N)) > 1:
            found = IPS(min_effective=2).estimate(logged)
            held += found.lower <= truth <= found.upper
        try:
            IPS().estimate(logged)
        except DataError:
            continue
        told += 1
    return held / num_logs, told / num_logs


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for line in chain(lines(number), list_lines(number // 4)):
        sys.stdout.write(line + "\n")
