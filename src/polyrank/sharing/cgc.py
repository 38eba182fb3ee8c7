"""CGC: experts of each task beside shared ones (Tang et al., RecSys 2020, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveInt

from polyrank.layers import InputSpec
from polyrank.sharing.extraction import Counts, Extraction
from polyrank.sharing.gated import Gated


class CGC(Gated):
    """Customized gate control: a task's gate mixes its own experts and the shared ones.

    It is PLE with one level.
    """

    kind: Literal["cgc"] = "cgc"
    num_task_experts: PositiveInt = 2
    """Experts of each task."""
    num_shared_experts: PositiveInt = 4
    """Experts of all tasks."""

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> Extraction:
        """One level."""
        counts = Counts(own=self.num_task_experts, shared=self.num_shared_experts, levels=1)
        return Extraction(inputs.width, tasks, counts, self)
