"""What a treatment changed in one metric, from two arms of different users or of the same.

Shapes: U users, K covariates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polyrank.evaluation.ab.estimate import Estimate, no_estimate
from polyrank.evaluation.ab.linear import Floats, Linear, regress
from polyrank.evaluation.ab.student import beyond

NO_DENOMINATOR = "the denominators of an arm sum to 0"
TOO_FEW = "an arm has too few users"
REFERENCE_0 = "the reference cannot be told from 0"
_DUST = 1e-12
"""What rounding leaves of terms that cancel, beside their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One metric of both arms.

    Args:
        metric: Its name.
        reference: Its value in the reference, as measured.
        treatment: Its value in the treatment, as measured.
        difference: Treatment less reference, adjusted for the covariates.
        relative: The same as a share of the reference's (adjusted) size, by the delta method.
        variance_reduction: The share of the difference's variance that covariates took away, or,
            in a paired experiment, that pairing did; 0 without either. May be negative. NaN where
            there is no difference, or no variance.
        users: Users of positive weight in reference and treatment.
    """

    metric: str
    reference: float
    treatment: float
    difference: Estimate
    relative: Estimate
    variance_reduction: float
    users: tuple[int, int]


class Looking(NamedTuple):
    """What all estimates of an analysis share."""

    alpha: float
    planned_users: int | None


class _Part(NamedTuple):
    """Users drawn independently of other parts: how each moves an estimate, times their number."""

    moves_U: Floats
    lost: float  # degrees of freedom


def unpaired_effect(metric: str, reference: Linear, treatment: Linear, looking: Looking) -> Effect:
    """Different users in the two arms.

    With K covariates, 2 + K degrees of freedom are lost, those of the regression on arm and
    covariates, K of them by share of the users.
    """
    users = reference.users, treatment.users
    slopes_K = regress(reference, treatment)
    lost = [1 + int(np.count_nonzero(slopes_K)) * part / max(sum(users), 1) for part in users]
    tilt_A, tilt_B = reference.xi_UK @ slopes_K, treatment.xi_UK @ slopes_K
    share = treatment.weight / max(reference.weight + treatment.weight, 1e-300)
    shift = float((treatment.means_K - reference.means_K) @ slopes_K)
    # What reference and treatment would be with the covariates of both arms together, and how a
    # user of either arm moves these two.
    values = reference.value + share * shift, treatment.value - (1 - share) * shift
    moves_A = reference.psi_U - share * tilt_A, (1 - share) * tilt_A
    moves_B = share * tilt_B, treatment.psi_U - (1 - share) * tilt_B
    plain = _variance([_Part(reference.psi_U, 1), _Part(treatment.psi_U, 1)])

    def parts(gradient: _Gradient) -> list[_Part]:
        return [
            _Part(_combined(gradient, moves), degrees)
            for moves, degrees in zip((moves_A, moves_B), lost, strict=True)
        ]

    return _effect(metric, (reference, treatment), values, parts, plain, looking)


def paired_effect(metric: str, reference: Linear, treatment: Linear, looking: Looking) -> Effect:
    """The same users, in the same order, in both arms; covariates would cancel."""
    moves = reference.psi_U, treatment.psi_U
    plain = _variance([_Part(reference.psi_U, 1), _Part(treatment.psi_U, 1)])

    def parts(gradient: _Gradient) -> list[_Part]:
        return [_Part(_combined(gradient, moves), 1)]

    values = reference.value, treatment.value
    return _effect(metric, (reference, treatment), values, parts, plain, looking)


_Gradient = tuple[float, float]
"""How an estimate moves with the value of the reference and with that of the treatment."""


def _combined(gradient: _Gradient, moves: tuple[Floats, Floats]) -> Floats:
    terms = [slope * moves_U for slope, moves_U in zip(gradient, moves, strict=True)]
    total_U: Floats = terms[0] + terms[1]
    size = max(float(np.abs(term_U).max(initial=0)) for term_U in terms)
    return total_U if np.abs(total_U).max(initial=0) > _DUST * size else 0.0 * total_U


def _effect(
    metric: str,
    arms: tuple[Linear, Linear],
    values: tuple[float, float],
    parts: Callable[[_Gradient], list[_Part]],
    plain: float,
    looking: Looking,
) -> Effect:
    difference = _estimate(values[1] - values[0], parts((-1.0, 1.0)), looking)
    reference = _estimate(values[0], parts((1.0, 0.0)), looking)
    relative = difference
    if difference.reason is None:
        relative = _relative(values, reference, parts, looking)
    left = difference.standard_error**2
    return Effect(
        metric=metric,
        reference=arms[0].value,
        treatment=arms[1].value,
        difference=difference,
        relative=relative,
        variance_reduction=1 - left / plain if plain > 0 else math.nan,
        users=(arms[0].users, arms[1].users),
    )


def _relative(
    values: tuple[float, float],
    reference: Estimate,
    parts: Callable[[_Gradient], list[_Part]],
    looking: Looking,
) -> Estimate:
    half = reference.standard_error * beyond(looking.alpha, reference.degrees)
    if abs(values[0]) <= half:
        return no_estimate(REFERENCE_0, looking.alpha, reference.share)
    size = abs(values[0])
    gradient = -values[1] / (values[0] * size), 1 / size
    return _estimate((values[1] - values[0]) / size, parts(gradient), looking)


def _estimate(value: float, parts: Sequence[_Part], looking: Looking) -> Estimate:
    users = sum(len(part.moves_U) for part in parts)
    share = None if looking.planned_users is None else users / looking.planned_users
    if any(len(part.moves_U) <= part.lost for part in parts):
        return no_estimate(TOO_FEW, looking.alpha, share)
    if math.isnan(value):
        return no_estimate(NO_DENOMINATOR, looking.alpha, share)
    variances = [_variance([part]) for part in parts]
    variance = sum(variances)
    freedoms = [len(part.moves_U) - part.lost for part in parts]
    by_part = zip(variances, freedoms, strict=True)
    slack = sum(own * own / freedom for own, freedom in by_part)
    return Estimate(
        value=value,
        standard_error=math.sqrt(variance),
        # Welch (1947) and Satterthwaite (1946).
        degrees=variance * variance / slack if slack > 0 else math.inf,
        alpha=looking.alpha,
        share=share,
    )


def _variance(parts: Sequence[_Part]) -> float:
    """Of the estimate that these users move; NaN with too few of them."""
    return sum(_own_variance(part) for part in parts)


def _own_variance(part: _Part) -> float:
    users = len(part.moves_U)
    if users <= part.lost:
        return math.nan
    return float(part.moves_U @ part.moves_U) / (users - part.lost) / users
