"""A metric of one arm as a mean over users, to first order: the delta method, user by user.

With weights w of mean 1, numerators a and denominators b (1 for a mean), the metric is
R = sum w a / sum w b, and user u moves it by psi_u / U with

    psi_u = w_u (a_u - R b_u) / mean(w b),    so that sum psi = 0 and variance(R) = mean(psi²) / U

(Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 2.2).
Covariates are means, so theirs is xi_u = w_u (x_u - mean).

Shapes: U counted users, K covariates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.evaluation.ab.arm import Arm

Floats = NDArray[np.float64]

_CONSTANT = 1e-12
"""Spread, beside the largest value, that rounding alone makes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """One metric of one arm.

    Args:
        value: R; NaN where the denominators sum to 0.
        psi_U: Of the metric; NaN with it.
        means_K: Weighted means of the covariates.
        xi_UK: Of the covariates; columns that do not vary are 0.
        weight: Sum of the users' weights.
    """

    value: float
    psi_U: Floats
    means_K: Floats
    xi_UK: Floats
    weight: float

    @property
    def users(self) -> int:
        """U."""
        return len(self.psi_U)


def linearise(arm: Arm, metric: str) -> Linear:
    """``metric`` of the users of ``arm`` that count."""
    kept_U = arm.counted
    num_users = int(kept_U.sum())
    numerator_U = np.asarray(arm.numerators[metric], dtype=np.float64)[kept_U]
    denominator_U = np.ones(num_users)
    if metric in arm.denominators:
        denominator_U = np.asarray(arm.denominators[metric], dtype=np.float64)[kept_U]
    weights_U, weight = np.ones(num_users), float(num_users)
    if arm.weights is not None and num_users:
        weights_U = np.asarray(arm.weights, dtype=np.float64)[kept_U]
        weight = float(weights_U.sum())
        weights_U = weights_U / weights_U.mean()
    covariates_UK = _columns(arm, metric, kept_U)
    total = float(weights_U @ denominator_U)
    value = float(weights_U @ numerator_U) / total if total > 0 else np.nan
    mean = total / num_users if total > 0 else np.nan
    means_K = weights_U @ covariates_UK / max(num_users, 1)
    centred_UK = covariates_UK - means_K
    residual_U = numerator_U - value * denominator_U
    return Linear(
        value=value,
        psi_U=weights_U * _settled(residual_U, numerator_U) / mean,
        means_K=means_K,
        xi_UK=weights_U[:, None] * _settled(centred_UK, covariates_UK),
        weight=weight,
    )


def _settled(centred: Floats, values: Floats) -> Floats:
    """``centred``, or 0 in columns where it is what rounding left of ``values``."""
    spread, largest = (np.abs(array).max(axis=0, initial=0) for array in (centred, values))
    return np.where(spread <= _CONSTANT * largest, 0.0, centred)


def _columns(arm: Arm, metric: str, kept_U: NDArray[np.bool_]) -> Floats:
    if metric not in arm.covariates:
        return np.zeros((int(kept_U.sum()), 0))
    columns = np.asarray(arm.covariates[metric], dtype=np.float64)[kept_U]
    return columns.reshape(len(columns), -1)


def regress(reference: Linear, treatment: Linear) -> Floats:
    """(K,) the slope of the metric on its covariates within the arms, the same for both.

    The theta of CUPED (Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled
    Experiments by Utilizing Pre-Experiment Data", WSDM 2013, equation 3), by least squares for
    several covariates. Each arm is centred by itself, so that theta is that of a regression on arm
    and covariates, and what a metric gains by the treatment does not enter it.
    """
    xi_UK = np.concatenate([reference.xi_UK, treatment.xi_UK])
    psi_U = np.concatenate([reference.psi_U, treatment.psi_U])
    scale_K = np.sqrt((xi_UK**2).sum(axis=0))
    slopes_K = np.zeros(len(scale_K))
    varies_K = scale_K > 0
    if varies_K.any() and np.isfinite(psi_U).all():
        scaled_UK = xi_UK[:, varies_K] / scale_K[varies_K]
        slopes_K[varies_K] = np.linalg.lstsq(scaled_UK, psi_U)[0] / scale_K[varies_K]
    return slopes_K
