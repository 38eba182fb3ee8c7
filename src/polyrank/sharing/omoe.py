"""OMoE: experts and one gate, both shared by all tasks (Ma et al., KDD 2018, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveInt

from polyrank.layers import InputSpec
from polyrank.sharing.gated import Gated
from polyrank.sharing.mmoe import MMoEBlock

GATE = "all tasks"


class OMoE(Gated):
    """Mixture of experts with one gate for all tasks: MMoE's baseline.

    Every task gets the same representation. The gate is called "all tasks".
    """

    kind: Literal["omoe"] = "omoe"
    num_experts: PositiveInt = 8

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> MMoEBlock:
        """The experts and the gate."""
        return MMoEBlock(inputs.width, dict.fromkeys(tasks, GATE), self.num_experts, self)
