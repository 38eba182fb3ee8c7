"""Whether what is seen in one run (affinity, gradients, labels) goes with measured transfer.

Evidence about the evidence, and no cause: gradient conflict does not predict transfer (Mueller et
al., arXiv 2408.14677), and on a few tasks little can be told. Pairs share tasks, so the intervals,
which take pairs as independent, are too narrow; the p-value takes tasks as what is exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from polyrank.audit.affinity import Affinity
from polyrank.audit.gradients import Place
from polyrank.audit.labels import rank_correlation
from polyrank.audit.plain import Z95, Plain, wilson

NOTE = (
    "Agreement between what one run shows and what retraining measures is evidence, not cause; "
    "gradient conflict does not predict transfer (Mueller et al., 2025)."
)
FEWEST = 4
"""Pairs below which no rank correlation is given."""
ALL_ORDERS, DRAWS = 720, 999
"""Orders of the tasks that are all tried, up to six of them; of more, random ones."""

Directed = Mapping[tuple[str, str], float]
"""By the task that gives and the one that takes; pairs without a number are left out."""


@dataclass(frozen=True, kw_only=True)
class Agreement(Plain):
    """Over ordered pairs of two different tasks, with both numbers."""

    pairs: int
    spearman: float | None
    low: float | None
    """Of its 95 % interval: Fisher's z with the variance of Bonett and Wright (Psychometrika 2000),
    as if pairs were independent."""
    high: float | None
    p_value: float | None
    """Share of orders of the tasks, the given one included, that agree at least as well either way
    (Mantel, Cancer Research 1967); at least 1 / T! of T tasks."""
    reason: str | None
    """Why there is no correlation."""
    same_sign: float | None
    """The share of pairs, neither number 0, whose signs are the same."""
    sign_pairs: int
    """How many these are."""
    sign_low: float | None
    """Of its 95 % interval by Wilson, as if pairs were independent."""
    sign_high: float | None
    note: str = NOTE


def agreement(evidence: Directed, transfer: Directed, *, seed: int = 0) -> Agreement:
    """How well evidence goes with measured transfer, both above 0 where one helps the other.

    Args:
        evidence: From one run.
        transfer: What retraining measured.
        seed: Of the orders, where there are too many to try all.
    """
    found = [pair for pair in transfer if pair in evidence and pair[0] != pair[1]]
    ours, theirs = [evidence[pair] for pair in found], [transfer[pair] for pair in found]
    spearman, reason = _spearman(ours, theirs)
    low, high = _interval(spearman, len(found))
    signed = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != 0.0 and b != 0.0]
    same = sum((a > 0) == (b > 0) for a, b in signed) / len(signed) if signed else None
    sign_low, sign_high = (None, None) if same is None else wilson(same, len(signed))
    return Agreement(
        pairs=len(found),
        spearman=spearman,
        low=low,
        high=high,
        p_value=None if spearman is None else _mantel(evidence, transfer, found, spearman, seed),
        reason=reason,
        same_sign=same,
        sign_pairs=len(signed),
        sign_low=sign_low,
        sign_high=sign_high,
    )


def _spearman(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float | None, str | None]:
    if len(ours) < FEWEST:
        return None, f"{len(ours)} pairs have both numbers, and at least {FEWEST} are needed"
    found = rank_correlation(ours, theirs)
    return found, None if found is not None else "one of them is the same for all pairs"


def _interval(spearman: float | None, pairs: int) -> tuple[float | None, float | None]:
    if spearman is None or abs(spearman) == 1.0:
        return None, None
    half = Z95 * math.sqrt((1 + spearman**2 / 2) / (pairs - 3))
    middle = math.atanh(spearman)
    return math.tanh(middle - half), math.tanh(middle + half)


def _mantel(
    evidence: Directed,
    transfer: Directed,
    pairs: Sequence[tuple[str, str]],
    found: float,
    seed: int,
) -> float | None:
    """Orders under which fewer pairs have both numbers are compared on those."""
    tasks = tuple(dict.fromkeys(task for pair in pairs for task in pair))
    hits = total = 0
    for order in _orders(tasks, seed):
        named = dict(zip(tasks, order, strict=True))
        both = [
            (evidence[moved], transfer[pair])
            for pair in pairs
            if (moved := (named[pair[0]], named[pair[1]])) in evidence
        ]
        other = rank_correlation(*zip(*both, strict=True)) if len(both) >= FEWEST else None
        if other is not None:
            total += 1
            hits += abs(other) >= abs(found) - 1e-12
    return hits / total


def _orders(tasks: Sequence[str], seed: int) -> Iterator[Sequence[str]]:
    """The given one among them."""
    if math.factorial(len(tasks)) <= ALL_ORDERS:
        yield from permutations(tasks)
        return
    yield tasks
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield [tasks[place] for place in rng.permutation(len(tasks))]


def directed(evidence: Affinity | Place) -> dict[tuple[str, str], float]:
    """Affinities by giver and taker; cosines, which know no direction, both ways."""
    if isinstance(evidence, Affinity):
        return {
            (giver, taker): mean.value
            for giver, row in evidence.means.items()
            for taker, mean in row.items()
            if giver != taker and mean.value is not None
        }
    found = {}
    for name, pair in evidence.pairs.items():
        one, _, other = name.partition("/")
        if pair.cosine.value is not None:
            found[one, other] = found[other, one] = pair.cosine.value
    return found
