"""Several processes as one: what they sum, gather and wait for.

Started by ``torchrun``; each process takes every ``world``-th row of the same global batch, sums
its gradients with the others' and then makes the same update, so that all hold the same weights.
One process alone uses none of this and starts no process group.

What the user must see to:

- Every process sees the same run folder and cache.
- ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` in torchrun's environment where it may restart
  processes: with the store of its agent a restart after the death of one process can hang.
- A process that is stopped or cut off fails the others after ``COLLECTIVE_TIMEOUT``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from polyrank.errors import ConfigError
from polyrank.training.processes import Processes


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
