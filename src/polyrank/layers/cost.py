"""What a module costs: parameters, and multiply-adds a row.

>>> from torch import nn
>>> cost_of(nn.Linear(3, 2))
Cost(parameters=8, multiply_adds=6)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Cost:
    """Of a module, or of several together."""

    parameters: int
    multiply_adds: int
    """Of one row forward: products with weights, gated sums and attention. Elementwise work
    (biases, activations, norms) is left out."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)


def cost_of(module: nn.Module) -> Cost:
    """The cost of a module with everything in it; weights on the ``meta`` device will do.

    A weight with two or more dimensions counts once a row. A module where that is not so says what
    it takes in ``multiply_adds``, for itself and all in it; one that multiplies without weights
    adds ``extra_multiply_adds``.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(parameters, _multiply_adds(module))


def _multiply_adds(module: nn.Module) -> int:
    declared = getattr(module, "multiply_adds", None)
    if declared is not None:
        return int(declared)
    own = sum(p.numel() for p in module.parameters(recurse=False) if p.ndim >= 2)
    extra = int(getattr(module, "extra_multiply_adds", 0))
    return own + extra + sum(_multiply_adds(child) for child in module.children())
