"""What several processes sum, gather and wait for; one process alone.

Shapes: N entries of a sparse gradient, D width of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from torch import Tensor

COLLECTIVE_TIMEOUT = timedelta(seconds=120)
"""How long a process waits for the others within a step."""
PATIENCE = timedelta(hours=12)
"""How long the others wait for what only the first one does: encoding the log, a checkpoint."""


class Processes:
    """One process alone; ``ProcessGroup`` is the same for several."""

    rank: int = 0
    local_rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a small tensor over all processes, the same bits in each."""
        return values

    def sum_gradients(self, dense: Sequence[Tensor], sparse: Sequence[Tensor]) -> None:
        """Replace the gradients of these parameters by their sums over all processes.

        Args:
            dense: Parameters with strided gradients, or none.
            sparse: Embedding tables, with sparse gradients, or none.
        """
        del dense, sparse

    def gather(self, rows: Tensor) -> list[Tensor] | None:
        """The tensors of all processes, by rank, in the first process; None in the others.

        Args:
            rows: On the CPU; the processes may differ in the first dimension only.
        """
        return [rows]

    def first_does(self, work: Callable[[], Any]) -> Any:
        """The result of ``work``, a JSON value, done by the first process while the others wait.

        Raises:
            PolyrankError: What the first process raised, in every process.
        """
        return work()
