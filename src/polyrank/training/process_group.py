"""Several processes of ``torchrun``: gloo on the CPU, NCCL between GPUs.

Shapes: N entries of a sparse gradient, D width of the table.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from polyrank.errors import DistributedError, PolyrankError
from polyrank.training import processes
from polyrank.training.processes import PATIENCE, Processes

_ERRORS = {kind.code: kind for kind in PolyrankError.__subclasses__()}
_FAREWELL = timedelta(seconds=10)


class ProcessGroup(Processes):
    """The processes that torchrun started."""

    _joined: ClassVar[ProcessGroup | None] = None

    def __init__(self, store: Store, rank: int, local_rank: int, world: int) -> None:
        self.rank, self.local_rank, self.world = rank, local_rank, world
        self._store = store
        self._calls = 0

    @classmethod
    def join(cls, device: torch.device, rank: int, local_rank: int) -> ProcessGroup:
        """Meet the other processes; the second call gives the same group."""
        if cls._joined is None:
            with _collective("meet the other processes"):
                store, rank, world = next(
                    rendezvous("env://", timeout=processes.COLLECTIVE_TIMEOUT)
                )
                dist.init_process_group(
                    "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                    store=PrefixStore("group", store),
                    rank=rank,
                    world_size=world,
                    timeout=processes.COLLECTIVE_TIMEOUT,
                )
            atexit.register(_leave)
            cls._joined = cls(PrefixStore("first", store), rank, local_rank, world)
        return cls._joined

    def sum(self, values: Tensor) -> Tensor:
        """See ``Processes``."""
        total = values.detach().clone()
        with _collective("sum over the processes"):
            dist.all_reduce(total)
        return total

    def sum_gradients(self, dense: Sequence[Tensor], sparse: Sequence[Tensor]) -> None:
        """See ``Processes``; the dense ones travel as one buffer."""
        with _collective("sum the gradients"):
            _sum_dense(dense)
            for table in sparse:
                self._sum_sparse(table)

    def gather(self, rows: Tensor) -> list[Tensor] | None:
        """See ``Processes``."""
        with _collective("gather predictions"):
            sizes = self._sizes(len(rows), rows.device)
            padded = _pad(rows, max(sizes))
            parts = [torch.empty_like(padded) for _ in sizes] if self.first else None
            dist.gather(padded, parts)
        if parts is None:
            return None
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]

    def first_does(self, work: Callable[[], Any]) -> Any:
        """See ``Processes``."""
        self._calls += 1
        key = str(self._calls)
        return self._do(work, key) if self.first else self._await(key)

    def _do(self, work: Callable[[], Any], key: str) -> Any:
        try:
            result = work()
        except PolyrankError as error:
            # The store may live in this process: stay until the others know.
            with suppress(RuntimeError):
                self._store.set(key, json.dumps({"error": json.loads(error.to_json())}))
                self._store.wait([f"{key}/{rank}" for rank in range(1, self.world)], _FAREWELL)
            raise
        with _collective("tell the other processes"):
            self._store.set(key, json.dumps({"result": result}))
        return result

    def _await(self, key: str) -> Any:
        with _collective("wait for the first process"):
            self._store.wait([key], PATIENCE)
            answer = json.loads(self._store.get(key))
            self._store.set(f"{key}/{self.rank}", "")
        if "error" in answer:
            raise _rebuild(answer["error"])
        return answer["result"]

    def _sizes(self, size: int, device: torch.device) -> list[int]:
        sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([size], device=device))
        return [int(size) for size in torch.cat(sizes).tolist()]

    def _sum_sparse(self, table: Tensor) -> None:
        local = table.grad
        if local is None:
            local = torch.sparse_coo_tensor(
                torch.empty(1, 0, dtype=torch.int64, device=table.device),
                table.new_empty(0, table.shape[1]),
                table.shape,
                check_invariants=False,
            )
        local = local.coalesce()
        sizes = self._sizes(local.indices().shape[1], table.device)
        if not max(sizes):
            table.grad = None
            return
        table.grad = torch.sparse_coo_tensor(
            self._concatenate(local.indices()[0], sizes)[None],
            self._concatenate(local.values(), sizes),
            table.shape,
            check_invariants=False,
        )

    def _concatenate(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        padded = _pad(rows, max(sizes))
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def _sum_dense(parameters: Sequence[Tensor]) -> None:
    """One all-reduce; a gradient that no process has stays None."""
    flat = torch.cat(
        [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters]
        + [torch.stack([p.new_tensor(float(p.grad is not None)) for p in parameters])]
    )
    dist.all_reduce(flat)
    *gradients, present = flat.split([*(p.numel() for p in parameters), len(parameters)])
    for parameter, gradient, holders in zip(parameters, gradients, present.tolist(), strict=True):
        parameter.grad = gradient.view_as(parameter) if holders else None


def _pad(rows: Tensor, length: int) -> Tensor:
    padded = rows.new_zeros(length, *rows.shape[1:])
    padded[: len(rows)] = rows
    return padded


def _rebuild(error: dict[str, Any]) -> PolyrankError:
    kind = _ERRORS.get(error["code"], DistributedError)
    return kind(error["message"], where=error["where"], hint=error["hint"])


@contextmanager
def _collective(action: str) -> Iterator[None]:
    """Failures of a collective operation as errors for the user."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DistributedError(
            f"cannot {action}: {reason}",
            where="torchrun",
            hint="Another process died, hangs or lost its network: see its message, then start "
            "all of them again with --resume.",
        ) from error


def _leave() -> None:
    if dist.is_initialized():
        with suppress(RuntimeError):
            dist.destroy_process_group()
