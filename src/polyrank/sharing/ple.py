"""PLE: stacked levels of own and shared experts (Tang et al., RecSys 2020, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import PositiveInt

from polyrank.layers import InputSpec
from polyrank.schema.model import Name
from polyrank.sharing.base import SharingConfig
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
    late_tasks: tuple[Name, ...] = ()
    """Tasks that came to a trained model (``train --from`` writes them here): the shared gates do
    not see their experts, so that the tasks before them get what they got."""

    def grown(self, old: SharingConfig, tasks: Sequence[str], added: Sequence[str]) -> Self:
        """With late tasks, where there are shared gates."""
        del tasks
        assert isinstance(old, PLE), "an architecture grows out of its own kind"
        late = (*old.late_tasks, *added) if self.num_levels > 1 else ()
        return self.model_copy(update={"late_tasks": late})

    def without(self, added: Sequence[str]) -> Self:
        """Without those late tasks."""
        late = tuple(task for task in self.late_tasks if task not in added)
        return self.model_copy(update={"late_tasks": late})

    def assemble(self, inputs: InputSpec, tasks: Sequence[str]) -> Extraction:
        """The levels."""
        counts = Counts(
            own=self.num_task_experts,
            shared=self.num_shared_experts,
            levels=self.num_levels,
            unseen=frozenset(self.late_tasks),
        )
        return Extraction(inputs.width, tasks, counts, self)
