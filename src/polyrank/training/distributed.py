"""Several processes as one: what they sum, gather and wait for.

Started by ``torchrun``; each process takes every ``world``-th row of the same global batch, sums
its gradients with the others' and then makes the same update, so that all hold the same weights.
One process alone uses none of this and starts no process group.

What the user must see to:

- Every process sees the same run folder and cache.
- ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` in torchrun's environment where it may restart
  processes: with the store of its agent a restart after the death of one process can hang.
- A process that is stopped or cut off fails the others after ``COLLECTIVE_TIMEOUT``.

Shapes: N entries of a sparse gradient, D width of the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from polyrank.errors import ConfigError

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


def join_processes(device: torch.device, environment: Mapping[str, str] = os.environ) -> Processes:
    """The processes that ``torchrun`` started, joined; or this one alone. Joins once only.

    Raises:
        ConfigError: The variables of torchrun are incomplete or no numbers.
        DistributedError: The others did not come.
    """
    if _number(environment, "WORLD_SIZE", 1) == 1:
        return Processes()
    from polyrank.training.process_group import ProcessGroup

    rank = _number(environment, "RANK", None)
    return ProcessGroup.join(device, rank, _number(environment, "LOCAL_RANK", rank))


def choose_device(wanted: str, environment: Mapping[str, str] = os.environ) -> torch.device:
    """The device of this process; each process of a machine takes its own GPU.

    Raises:
        ConfigError: ``cuda`` is wanted and there is none for this process.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not available):
        return torch.device("cpu")
    local_rank = _number(environment, "LOCAL_RANK", 0)
    if local_rank >= available:
        raise ConfigError(
            f"process {local_rank} of this machine has no GPU: torch sees {available}",
            where="training.device",
            hint="Use `cpu` or `auto`, install a CUDA build of torch, or start fewer processes.",
        )
    return torch.device("cuda", local_rank)


def _number(environment: Mapping[str, str], name: str, default: int | None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise ConfigError(
            f"the variable {name} must be a number, got {text!r}",
            hint="Start several processes with torchrun, or unset WORLD_SIZE.",
        )
    return int(text)
