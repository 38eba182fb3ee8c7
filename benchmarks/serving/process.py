"""``polyrank serve`` in a process of its own, watched through /proc."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML

TOKEN = "a-token-of-the-load-test-0123456789"  # noqa: S105
HERE = Path(__file__).resolve().parent
PATIENCE = 30
"""Times that an operator asks."""
_TICKS = os.sysconf("SC_CLK_TCK")
_STAGE = re.compile(r'polyrank_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)')


@dataclass(frozen=True)
class Cores:
    """Which cores the server may use, and which the client."""

    server: frozenset[int]
    client: frozenset[int]

    @classmethod
    def split(cls) -> Cores:
        """The last core for the client, all others for the server."""
        there = sorted(os.sched_getaffinity(0))
        if len(there) < 2:
            return cls(frozenset(there), frozenset(there))
        return cls(frozenset(there[:-1]), frozenset(there[-1:]))

    def __str__(self) -> str:
        return f"server on {len(self.server)} of {os.cpu_count()} cores, client on another"


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float
    """From exec to the first ready answer."""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def rss(self) -> float:
        """MiB that are resident."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu(self) -> float:
        """Seconds computed so far, without those of children."""
        text = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICKS

    def ask(
        self, method: str, path: str, tree: Any = None, *, seconds: float = 60.0
    ) -> tuple[int, bytes]:
        """One request, as an operator."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {TOKEN}",
            "x-deadline-ms": str(int(seconds * 1e3)),
        }
        try:
            body = None if tree is None else orjson.dumps(tree)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def told(self, method: str, path: str, tree: Any = None) -> Any:
        """The JSON of an answer that must be 200; asked again while the server has no room."""
        for _ in range(PATIENCE):
            status, body = self.ask(method, path, tree)
            if status != 503:
                break
            time.sleep(1.0)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {body[:300]!r}")
        return orjson.loads(body)

    def stages(self) -> dict[str, tuple[float, float]]:
        """By stage, seconds so far and how many requests had it."""
        found: dict[str, dict[str, float]] = {}
        for what, stage, value in _STAGE.findall(self.ask("GET", "/metrics")[1].decode()):
            found.setdefault(stage, {})[what] = float(value)
        return {stage: (each["sum"], each["count"]) for stage, each in found.items()}


@contextmanager
def serving(
    bundle: Path,
    folder: Path,
    *,
    cores: Cores | None,
    limits: Mapping[str, Any],
    flags: Sequence[str] = (),
    leak: int = 0,
) -> Iterator[Server]:
    """A server of one bundle by the name ``model``; SIGTERM at the end, and it must exit 0.

    Args:
        bundle: The bundle, or a link to one.
        folder: For settings and the server's log.
        cores: To be pinned to; null: any.
        limits: As in the server's settings.
        flags: Further flags of ``polyrank serve``.
        leak: Bytes that the script's own wrapper keeps of each ranking; 0: no wrapper.
    """
    tree = {
        "models": {"model": str(bundle)},
        "port": 0,
        "watch_seconds": 3600,
        "limits": {"grace_seconds": 0, **limits},
    }
    settings = folder / "serve.yaml"
    with settings.open("w") as stream:
        YAML(typ="safe").dump(tree, stream)
    entry = [str(HERE / "leaking.py"), str(leak)] if leak else ["-m", "polyrank"]
    command = [sys.executable, *entry, "serve", "--settings", str(settings), "--quiet", *flags]
    log = folder / "server.log"
    with log.open("ab") as errors:
        if cores is not None:
            os.sched_setaffinity(0, cores.server)  # which the server inherits
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "POLYRANK_ADMIN_TOKEN": TOKEN,
            },
        )
        if cores is not None:
            os.sched_setaffinity(0, cores.client)
        try:
            yield _ready(process, began, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if code != 0:
            raise RuntimeError(f"the server left with {code}: {log.read_text()[-800:]}")


def _ready(process: subprocess.Popen[bytes], began: float, log: Path) -> Server:
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    if not line:
        raise RuntimeError(f"the server does not start: {log.read_text()[-800:]}")
    server = Server(process, int(line.strip().rpartition(":")[2]), 0.0)
    for _ in range(10_000):
        try:
            if server.ask("GET", "/v2/health/ready")[0] == 200:
                return Server(process, server.port, time.perf_counter() - began)
        except ConnectionRefusedError:
            pass
        time.sleep(0.002)
    raise RuntimeError("the server does not become ready")


def import_seconds() -> float:
    """What starting Python and importing what a server needs takes."""
    code = "import polyrank.serving.host, polyrank.scoring, uvicorn"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
    return time.perf_counter() - began
