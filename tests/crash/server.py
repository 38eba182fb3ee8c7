"""A process that has imported everything and run nothing, and forks a trainer when asked.

The pools of OpenMP and autograd do not survive a fork, so the server itself runs no operation of
torch: the log is encoded by its first child. Run as ``python -m tests.crash.server FOLDER``; it
reads ``RUN RESUME`` a line and answers ``PID``, and after the child has ended nothing more: what
happened is in the child's exit status, which it answers to ``wait PID``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "checkpoint": {"every": 3, "keep": 2},
    "select": {"every": 5, "patience": 0},
}
RESULT = "result.json"
MODULES = "modules.txt"
_LATE = ("torch.", "sympy", "mpmath", "pandas", "pyarrow.", "numpy.")


class ForkServer:
    """The server, from the side of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.server", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def start(self, run: Path, resume: str) -> int:
        """Fork a trainer; its process id."""
        return int(self._ask(f"start {run} {resume}"))

    def wait(self, pid: int) -> int:
        """The exit status of a child, negative for a signal, once it has ended."""
        return int(self._ask(f"wait {pid}"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def result_of(run: Path) -> dict[str, Any]:
    """What a child that finished wrote."""
    found: dict[str, Any] = json.loads((run / RESULT).read_text())
    return found


def _train(folder: Path, run: Path, resume: Any) -> None:
    import torch

    from polyrank.training import train
    from tests.training.runs import config, digest, open_prepared, prepared

    torch.set_num_threads(1)
    cache = folder / "cache"
    log = open_prepared(cache) if cache.exists() else prepared(cache)
    run.mkdir(exist_ok=True)
    (run / "ready").touch()
    result = train(config(**SETTINGS), log, run, resume=resume)
    told = {
        "weights": digest(result.model),
        "best": [result.best_step, result.best_score],
        "steps": result.steps,
        "history": [[entry.step, entry.score, dict(entry.metrics)] for entry in result.history],
    }
    (run / RESULT).write_text(json.dumps(told))
    if not (folder / MODULES).exists():
        names = [name for name in sys.modules if name.startswith(_LATE)]
        (folder / MODULES).write_text(" ".join(names))


def _child(folder: Path, run: Path, resume: str) -> int:
    from polyrank.errors import PolyrankError

    try:
        _train(folder, run, resume)
    except PolyrankError as error:
        (run / "error.txt").write_text(str(error))
        return error.exit_code
    except BaseException:  # noqa: BLE001  # a child must never go on in the server's place
        (run / "error.txt").write_text(traceback.format_exc())
        return 1
    return 0


def serve(folder: Path) -> None:
    """Answer until the input ends."""
    for module in ("polyrank.training", "tests.training.runs"):
        importlib.import_module(module)
    # What a killed process wrote, the kernel has; only a crash of the machine needs the sync.
    os.fsync = lambda fd: None
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "wait":
            _, status = os.waitpid(int(arguments[0]), 0)
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        else:
            _import_what_children_do(folder)
            pid = os.fork()
            if pid == 0:
                os._exit(_child(folder, Path(arguments[0]), arguments[1]))
            sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _import_what_children_do(folder: Path) -> None:
    """Much is imported on first use, by torch.optim and by pyarrow: here once, not per child."""
    if (folder / MODULES).exists():
        for module in (folder / MODULES).read_text().split():
            with suppress(ImportError):
                importlib.import_module(module)
        (folder / MODULES).write_text("")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
