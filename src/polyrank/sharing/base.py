"""The seam of sharing: one input, one output a task.

Shapes: B rows, D input width, H output width, E experts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.layers import Cost, InputSpec, Undrawn, cost_of
from polyrank.schema import Declared, Schema

EVERYONE = "all tasks"
"""Owner of what tasks share; none is called so, for the space."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a sharing block gives."""

    tasks: Mapping[str, Tensor]
    """(B, H) by task: the input of its tower."""
    fork: tuple[Tensor, ...]
    """The last representations that several tasks share, where their gradients are compared. Empty
    where nothing is shared."""
    asked: tuple[Tensor, ...] = ()
    """What tasks' gates read of what is shared. What a task's loss gives to anything that others
    use, it gives through these and the fork."""
    mixing: Mapping[str, Tensor] = field(default_factory=dict)
    """(B or 1, E) by task, where ``tasks`` are weighted sums over the second dimension of the fork,
    which is then one tensor (B, E, H): the weights, in any precision."""
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    """(B, E) by gate: the weights of its experts, each row summing to 1. A gate of the last level
    has the name of its task ("all tasks" where they have one together), one below has the level in
    front: "1 click"."""
    experts: Mapping[str, Tensor] = field(default_factory=dict)
    """(B, E, H) by bank of experts: their outputs."""
    penalty: Tensor | None = None
    """A scalar in float32 that is added to the loss in training, finite for no rows, too."""


def alias(x: Tensor) -> Tensor:
    """The same values as another node of the graph: what comes back through it can be told apart
    from what comes back through ``x``."""
    return x.view_as(x)


class Sharing(nn.Module, ABC):
    """A built sharing block."""

    out_width: int
    extra_multiply_adds: int = 0
    """Of one row: gated sums and other products that no weight enters."""
    expert_names: Mapping[str, tuple[str, ...]] = {}
    """By bank, the name of each expert in it; no name twice."""
    gate_experts: Mapping[str, tuple[str, ...]] = {}
    """By gate, the expert behind each of its weights."""
    owners: Mapping[str, tuple[str, ...]] = {}
    """By path of a module or parameter whose parts are laid out in the order of the tasks: the name
    of each part. The parts are the children of a module or parameter list, else equal runs of the
    elements of each tensor. What one task alone uses begins with the task: "click", or "click" and
    a space and more; what others use, too, does not ("shared expert 0", "1 click expert 0")."""

    def taken_from(self, tasks: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """By path in ``owners``, the parts by which other tasks take from these.

        They are zero where these come to a trained block, so that the others get what they got.
        """
        del tasks
        return {}

    @abstractmethod
    def forward(self, views: Sequence[Tensor]) -> Shared:
        """From the input representations to one representation a task.

        Args:
            views: ``num_views`` tensors (B, D), each from an embedding table of its own.
        """


class SharingConfig(Declared, ABC):
    """The configuration of an architecture, and its builder."""

    kind: str
    budget: PositiveInt | None = None
    """Parameters that the block may have: all its widths are stretched by one factor, the largest
    that keeps within. Null: the widths as they stand."""

    def views(self, tasks: Sequence[str]) -> tuple[str, ...]:
        """Whose each embedding table is, and so each input representation that the block reads: a
        task's, or of others, too."""
        del tasks
        return (EVERYONE,)

    def num_views(self, tasks: Sequence[str]) -> int:
        """How many embedding tables, and so input representations, the block reads."""
        return len(self.views(tasks))

    def forks(self) -> bool:
        """Whether tasks share anything, so that ``Shared.fork`` is not empty."""
        return True

    def grown(self, old: SharingConfig, tasks: Sequence[str], added: Sequence[str]) -> Self:
        """The architecture for ``tasks`` and those ``added``, in which the former get what they got
        in a trained block of ``old``.

        Raises:
            ValueError: There is none; why, and the cure.
        """
        del old, tasks, added
        return self

    def without(self, added: Sequence[str]) -> Self:
        """The architecture before ``added`` came: what it had to say of them is gone."""
        del added
        return self

    def check(self, schema: Schema) -> None:
        """Refuse a schema whose tasks or features do not fit.

        Raises:
            ValueError: What does not, and the cure.
        """

    def build(self, inputs: InputSpec, tasks: Sequence[str]) -> Sharing:
        """The block for such inputs, within the budget if there is one.

        Raises:
            ConfigError: It cannot read the inputs, or not even widths of 1 keep within the budget.
        """
        return self.fitted(inputs, tasks).assemble(inputs, tasks)

    @abstractmethod
    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> Sharing:
        """The block at the widths as they stand."""

    def cost(self, inputs: InputSpec, tasks: Sequence[str]) -> Cost:
        """What the block that ``build`` gives will cost; no weight is drawn."""
        return self.fitted(inputs, tasks)._cost(inputs, tasks)

    def fitted(self, inputs: InputSpec, tasks: Sequence[str]) -> Self:
        """The same architecture with the widths that the budget allows.

        Raises:
            ConfigError: Not even widths of 1 keep within it.
        """
        budget = self.budget
        if budget is None:
            return self

        tried: list[tuple[Self, bool]] = []

        def fits(factor: float) -> bool:
            candidate = self.scaled(factor)
            for same, fit in tried:  # many factors round down to the same widths
                if same == candidate:
                    return fit
            tried.append((candidate, candidate._cost(inputs, tasks).parameters <= budget))
            return tried[-1][1]

        if not fits(0.0):
            least = self.scaled(0.0)._cost(inputs, tasks).parameters
            raise ConfigError(
                f"`budget` must be at least {least} for {self.kind} on {inputs.width} inputs and "
                f"{len(tasks)} tasks, got {budget}",
                where="model.sharing.budget",
            )
        return self.scaled(_largest(fits))

    def scaled(self, factor: float) -> Self:
        """All widths times ``factor``, rounded down, at least 1; without a budget.

        Widths are the fields named ``widths`` or ``..._widths``, also of a sharing within.
        """
        changed: dict[str, Any] = {"budget": None}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "widths" or name.endswith("_widths"):
                changed[name] = tuple(max(1, int(width * factor)) for width in value)
            elif isinstance(value, SharingConfig):
                changed[name] = value.scaled(factor)
        return self.model_copy(update=changed)

    def _cost(self, inputs: InputSpec, tasks: Sequence[str]) -> Cost:
        with torch.device("meta"), Undrawn():
            return cost_of(self.assemble(inputs, tasks))


def _largest(fits: Callable[[float], bool]) -> float:
    """The largest factor that fits, to one part in a million; 0 is known to fit."""
    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, high * 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
