"""What a picked ranking gains over today's, with intervals over whole users or requests.

Shapes: N rows, G lists, U units, K goals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation import NO_GROUP
from polyrank.fusion.tuning.credits import Credits
from polyrank.fusion.tuning.meter import Meter, earned_by_list
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.fusion.tuning.result import Gain, Gains

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CONFIDENCE = 0.95
WEIGHED = "rows of one class and group weigh differently, so there is no interval"
FEW = "fewer than 2 to draw from, so there is no interval"


def gains_of(
    meter: Meter,
    today_N: Floats,
    picked_N: Floats,
    *,
    of: Literal["champion", "knee"],
    resamples: int,
    seed: int,
) -> Gains:
    """Paired differences of every objective of the meter.

    The draws are those of ``polyrank.evaluation.compare`` with the same seed: whole users with
    replacement, whole requests where users are not known. A list belongs to the user of its first
    row.
    """
    drawn: Literal["user", "request"] = "user" if "user" in meter.log.rows.groups else "request"
    unit_N, num_units = _units(meter.log, drawn)
    points_2K = meter.of_scores(np.stack([today_N, picked_N]))
    summed = [
        None if each is None else _summed(each, today_N, picked_N, unit_N, num_units)
        for each in meter.credits
    ]
    draws_RK = _draws(summed, num_units, resamples, seed)
    rows = [
        _gain(each.name, points_2K[:, place], draws_RK[:, place], _reason(summed[place], num_units))
        for place, each in enumerate(meter.objectives)
    ]
    return Gains(
        of=of,
        drawn=drawn,
        units=num_units,
        resamples=resamples,
        confidence=CONFIDENCE,
        rows=tuple(rows),
    )


def _units(log: Replayed, key: str) -> tuple[Ints, int]:
    """(N,) the unit of each row; a row without a key is a unit of its own."""
    code_N = log.groups(key)
    found, unit_N = np.unique(code_N, return_inverse=True)
    alone_N = code_N == NO_GROUP
    if not alone_N.any():
        return unit_N, len(found)
    # The number of the missing key goes to the first of its rows.
    num_alone = int(alone_N.sum())
    unit_N[alone_N] = [unit_N[alone_N][0], *range(len(found), len(found) + num_alone - 1)]
    return unit_N, len(found) + num_alone - 1


def _summed(
    earning: Credits, today_N: Floats, picked_N: Floats, unit_N: Ints, num_units: int
) -> Floats:
    """(2, U): by unit, what the picked ranking earns more than today's, and the share."""
    inside_N = np.flatnonzero(earning.list_N >= 0)
    unit_G = np.empty(len(earning.share_G), dtype=np.int64)
    unit_G[earning.list_N[inside_N][::-1]] = unit_N[inside_N][::-1]
    more_G = earned_by_list(earning, picked_N) - earned_by_list(earning, today_N)
    return np.stack(
        [
            np.bincount(unit_G, more_G, minlength=num_units),
            np.bincount(unit_G, earning.share_G, minlength=num_units),
        ]
    )


def _draws(
    summed: Sequence[Floats | None], num_units: int, resamples: int, seed: int
) -> NDArray[np.float64]:
    draws_RK = np.full((resamples, len(summed)), np.nan)
    for replicate in range(resamples):
        rng = np.random.default_rng((seed, replicate))
        drawn_U = rng.integers(0, num_units, num_units)
        count_U = np.bincount(drawn_U, minlength=num_units).astype(np.float64)
        for place, each in enumerate(summed):
            if each is not None:
                more, share = each @ count_U
                draws_RK[replicate, place] = more / share if share > 0 else np.nan
    return draws_RK


def _reason(summed: Floats | None, num_units: int) -> str | None:
    if summed is None:
        return WEIGHED
    return FEW if num_units < 2 else None


def _gain(name: str, point_2: Floats, draw_R: Floats, reason: str | None) -> Gain:
    known_R = draw_R[~np.isnan(draw_R)]
    if reason is None and not len(known_R):
        reason = "no draws were asked for, or it is undefined in them"
    lower, upper = (None, None) if reason else _ends(known_R)
    return Gain(
        goal=name,
        today=float(point_2[0]),
        picked=float(point_2[1]),
        difference=float(point_2[1] - point_2[0]),
        lower=lower,
        upper=upper,
        reason=reason,
    )


def _ends(draw_R: Floats) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(draw_R, (tail, 1 - tail))
    return float(lower), float(upper)
