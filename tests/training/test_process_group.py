"""The process group in this process: a group of one under gloo, and two ends of one store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import HashStore

from polyrank.errors import ConfigError, DistributedError
from polyrank.training import process_group, processes
from polyrank.training.process_group import ProcessGroup


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessGroup]:
    """A real gloo group whose only member is this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(ProcessGroup, "_joined", None)
    joined = ProcessGroup.join(torch.device("cpu"), 0, 0)
    assert ProcessGroup.join(torch.device("cpu"), 0, 0) is joined
    yield joined
    process_group._leave()
    process_group._leave()
    assert not dist.is_initialized()


def sparse(rows: list[int], size: int = 6) -> nn.Parameter:
    """A table whose gradient is 1, 2, ... at these rows."""
    table = nn.Parameter(torch.zeros(size, 2))
    values = torch.arange(1.0, len(rows) + 1)[:, None].expand(-1, 2).contiguous()
    indices = torch.tensor([rows], dtype=torch.int64)
    table.grad = torch.sparse_coo_tensor(indices, values, (size, 2), check_invariants=True)
    return table


def test_a_group_of_one_sums_to_what_it_has(group: ProcessGroup) -> None:
    values = torch.tensor([1.5, -2.0], dtype=torch.float64)
    assert torch.equal(group.sum(values), values)
    assert group.sum(values) is not values
    (rows,) = group.gather(torch.arange(6.0).view(3, 2)) or []
    assert torch.equal(rows, torch.arange(6.0).view(3, 2))
    assert group.first_does(lambda: {"a": [1, None]}) == {"a": [1, None]}


def test_gradients_keep_their_values_and_their_absence(group: ProcessGroup) -> None:
    dense, without = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4))
    dense.grad = torch.arange(6.0).view(2, 3)
    table, empty, none = sparse([4, 1, 4]), sparse([]), nn.Parameter(torch.zeros(3, 2))
    group.sum_gradients([dense, without], [table, empty, none])
    assert torch.equal(dense.grad, torch.arange(6.0).view(2, 3))
    assert without.grad is None
    assert table.grad is not None
    expected = torch.zeros(6, 2)
    expected[4], expected[1] = 4.0, 2.0
    assert torch.equal(table.grad.to_dense(), expected)
    assert empty.grad is None
    assert none.grad is None


def test_what_the_first_process_raises_it_raises(group: ProcessGroup) -> None:
    def fail() -> None:
        raise ConfigError("no", where="here", hint="do")

    with pytest.raises(ConfigError, match=r"here: no\. Do\."):
        group.first_does(fail)


def test_an_operation_that_fails_is_a_distributed_error(group: ProcessGroup) -> None:
    process_group._leave()
    with pytest.raises(DistributedError, match="cannot sum over the processes") as caught:
        group.sum(torch.zeros(1))
    assert caught.value.exit_code == 7


def both(work: Callable[[], Any]) -> list[Any]:
    """What ``first_does`` gives at both ends of one store, results or errors."""
    store, found = HashStore(), [None, None]

    def end(rank: int) -> None:
        try:
            found[rank] = ProcessGroup(store, rank, rank, 2).first_does(work)
        except (ConfigError, DistributedError) as error:
            found[rank] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=end, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_the_other_process_gets_the_result_and_does_no_work() -> None:
    calls: list[int] = []

    def work() -> dict[str, float]:
        calls.append(threading.get_ident())
        return {"score": 0.1 + 0.2}

    assert both(work) == [{"score": 0.1 + 0.2}] * 2
    assert len(calls) == 1


def test_the_other_process_raises_the_same_error() -> None:
    def fail() -> None:
        raise ConfigError("no", where="here", hint="do")

    first, second = both(fail)
    assert type(first) is type(second) is ConfigError
    assert str(first) == str(second)
    assert first is not second


def test_a_first_process_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "PATIENCE", timedelta(milliseconds=50))
    with pytest.raises(DistributedError, match="cannot wait for the first process"):
        ProcessGroup(HashStore(), 1, 1, 2).first_does(lambda: None)


def test_nobody_to_meet_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessGroup, "_joined", None)
    monkeypatch.setattr(processes, "COLLECTIVE_TIMEOUT", timedelta(milliseconds=200))
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "0"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DistributedError, match="cannot meet the other processes"):
        ProcessGroup.join(torch.device("cpu"), 0, 0)
