"""A normal law whose mean and spread both come from logits: what the log-normal heads share.

Shapes: B rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SIGMA_MIN = 0.05
"""Least spread: below it, one label that repeats would draw the loss to minus infinity."""


def sigma_of(logit_B: Tensor) -> Tensor:
    """(B,) spread, rising with the logit: the least one + log(1 + exp(logit))."""
    return SIGMA_MIN + F.softplus(logit_B)


def logit_of(sigma: float) -> float:
    """The logit of a spread above the least one."""
    return math.log(math.expm1(sigma - SIGMA_MIN))


def negative_log_likelihood(value_B: Tensor, mean_B: Tensor, sigma_B: Tensor) -> Tensor:
    """(B,) of the normal law, less its least value: 0 at (mean, ``SIGMA_MIN``), never below."""
    error_B = (value_B - mean_B) / sigma_B
    return torch.log(sigma_B / SIGMA_MIN) + 0.5 * error_B**2


def negative_log_survival(value_B: Tensor, mean_B: Tensor, sigma_B: Tensor) -> Tensor:
    """(B,) -log P(at or beyond the value) under the normal law, at least 0.

    In float64 throughout: the slope of ``log_ndtr`` cancels in float32 far out in the tail.
    """
    error_B = (value_B.double() - mean_B.double()) / sigma_B.double()
    log_B: Tensor = torch.special.log_ndtr(-error_B)
    return -log_B.to(mean_B.dtype)
