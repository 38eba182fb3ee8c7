"""PLE: stacked levels of own and shared experts (Tang et al., RecSys 2020, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveInt

from polyrank.layers import InputSpec
from polyrank.sharing.extraction import Counts, Extraction
from polyrank.sharing.gated import Gated


class PLE(Gated):
    """Progressive layered extraction.

    In each level a task's gate mixes its own experts and the shared ones, and the shared gate mixes
    all experts; experts and gates of the next level read these mixtures. The last level has no
    shared gate.
    """

    kind: Literal["ple"] = "ple"
    num_levels: PositiveInt = 2
    num_task_experts: PositiveInt = 2
    """Experts of each task in a level."""
    num_shared_experts: PositiveInt = 4
    """Experts of all tasks in a level."""

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> Extraction:
        """The levels."""
        counts = Counts(
            own=self.num_task_experts, shared=self.num_shared_experts, levels=self.num_levels
        )
        return Extraction(inputs.width, tasks, counts, self)
