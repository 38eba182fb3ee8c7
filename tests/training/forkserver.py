"""A process that has imported everything and run nothing, and forks a trainer when asked.

The pools of OpenMP and autograd do not survive a fork, so the server runs no operation of torch
itself. Without it every trainer of a test would spend seconds on imports.
"""

from __future__ import annotations

import atexit
import importlib
import os
import socket
import sys
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from tests.child import Child, asked, forked, tell
from tests.training.worker import Order, work

_LATE = ("torch.", "sympy", "mpmath", "pandas", "pyarrow.", "numpy.")


class ForkServer(Child):
    """The server, from the side of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        super().__init__("tests.training.forkserver", str(folder), environment=environment)

    def __enter__(self) -> Self:
        # The first trainer makes the log and tells the server what is imported late.
        run = self.folder / "warm-up"
        status = self.wait(self.start(self.order(run, settings={"epochs": 1})))
        assert status == 0, (run / "error-0.txt").read_text()
        return self

    def order(self, run: Path, **more: object) -> Order:
        """An order on the server's own log."""
        given: dict[str, object] = {"run": str(run), "cache": str(self.folder / "cache"), **more}
        return Order(**given)  # type: ignore[arg-type]

    def start(self, order: Order) -> int:
        """Fork a trainer; its process id."""
        return int(self.ask(vars(order)))

    def start_many(self, order: Order, world: int) -> list[int]:
        """Fork processes that find each other, as torchrun would; their ids by rank."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        pids = []
        for rank in map(str, range(world)):
            environment = {**common, "RANK": rank, "LOCAL_RANK": rank}
            pids.append(self.start(Order(**{**vars(order), "environment": environment})))
        return pids

    def start_ready(self, order: Order) -> int:
        """Fork a trainer, and return when it is about to train."""
        ready = Path(order.run) / "ready-0"
        ready.unlink(missing_ok=True)
        pid = self.start(order)
        while not ready.exists():
            time.sleep(0.001)
        return pid

    def wait(self, pid: int) -> int:
        """The exit status of a child, negative for a signal, once it has ended."""
        return int(self.ask(pid))

    def wait_all(self, pids: list[int]) -> list[int]:
        """The exit statuses of several."""
        return [self.wait(pid) for pid in pids]


def serve(folder: Path) -> None:
    """Answer until the input ends: to an order, a process id; to an id, its exit status."""
    # What a killed process wrote, the kernel has; only a crash of the machine needs the sync.
    os.fsync = lambda fd: None
    late = folder / "modules.txt"
    for told in asked():
        if isinstance(told, int):
            tell(os.waitstatus_to_exitcode(os.waitpid(told, 0)[1]))
        else:
            _import(late)
            tell(forked(partial(_trained, Order(**told), late)))


def _trained(order: Order, late: Path) -> int:
    os.environ.update(order.environment)
    warnings.simplefilter("error")
    status = work(order)
    if not late.exists():
        late.write_text(" ".join(name for name in sys.modules if name.startswith(_LATE)))
    atexit._run_exitfuncs()
    return status


def _import(late: Path) -> None:
    """Much is imported on first use, by torch.optim and by pyarrow: here once, not per child."""
    if late.exists():
        for module in late.read_text().split():
            with suppress(ImportError):
                importlib.import_module(module)
        late.write_text("")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
