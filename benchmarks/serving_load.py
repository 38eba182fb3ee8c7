"""A server under load: capacity, latency, overload, hot reloads, cold start.

    python benchmarks/serving_load.py --data-root ../shared/data --seconds 60
    python benchmarks/serving_load.py --bundle runs/kuairand/bundle --seconds 60

`polyrank serve` in its own process on loopback; asyncio clients on raw sockets in this one. The
load that is not to be exceeded is open-loop: each request is due at a random time that was drawn
beforehand, and its latency counts from then. Every body is compared, byte for byte from the
candidates on, with the answer to the same request of an idle server, which was itself checked
(every candidate once, finite values, descending scores).

Without --data-root and --bundle a simulated feed is trained. The result goes to
benchmarks/results/serving_load.md. Data: KuaiRand-Pure, CC BY-SA 4.0 (Gao et al., CIKM 2022).
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving.clients import Client, Run, closed_loop, open_loop
from serving.flags import add_flags, cores_of
from serving.judge import Judge
from serving.process import Server, import_seconds, serving
from serving.questions import Question, rankings
from serving.world import World, trained

SIZES = (200, 1000)
COUNT = 24
"""Requests of each size; they repeat."""
AT_ONCE = (4, 16, 32)
"""Of the closed loop: the best counts as the capacity."""
SHARE = 0.7
FACTORS = (2, 10)
STARTS = 3
PARTS = ("stages", "capacity", "held", "overload", "reloads", "cold")
Start = Callable[[], AbstractContextManager[Server]]


@dataclass
class Bench:
    """A server, its clients and what was found."""

    server: Server
    world: World
    questions: dict[int, list[Question]]
    seconds: float
    deadline: float
    judge: Judge = field(default_factory=Judge)
    capacity: dict[int, float] = field(default_factory=dict)
    unloaded: float = float("nan")
    """p99 of one at a time, in seconds."""
    faults: list[str] = field(default_factory=list)

    def client(self) -> Client:
        """A client of the server."""
        return Client(self.server.port, self.judge)

    def done(self, client: Client, *runs: Run) -> None:
        """A part is over."""
        client.close()
        for run in runs:
            self.faults += run.faults


def quantiles(seconds: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """p50, p99 and p99.9, in ms; NaN of nothing."""
    if not len(seconds):
        return (float("nan"),) * 3
    found = np.quantile(np.asarray(seconds) * 1e3, (0.5, 0.99, 0.999))
    return float(found[0]), float(found[1]), float(found[2])


def turning(questions: Sequence[Question]) -> Callable[[int], Question]:
    """The question of each place: one after the other, and again."""
    return lambda place: questions[place % len(questions)]


def learn(bench: Bench) -> None:
    """The idle answers of both versions."""
    for number in (1, 0):
        bench.world.reload(bench.server)
        assert bench.world.current == number
        for questions in bench.questions.values():
            bench.judge.learn(questions, bench.server)


async def capacity(bench: Bench) -> list[str]:
    """Answers a second of a closed loop, and the CPU that one costs."""
    lines = [
        "| candidates | one at a time, p50 ms | capacity, answers a second (clients) | "
        "candidates a second | server CPU ms a request, busy |",
        "|---|---|---|---|---|",
    ]
    for size, questions in bench.questions.items():
        client = bench.client()
        alone = await closed_loop(client, questions, 1, bench.seconds / 4)
        if size == SIZES[0]:
            bench.unloaded = quantiles(alone.ok())[1] / 1e3
        best, at, cost = 0.0, 0, 0.0
        for places in AT_ONCE:
            before = bench.server.cpu()
            run = await closed_loop(client, questions, places, bench.seconds / 3)
            if run.goodput() > best:
                cpu = bench.server.cpu() - before
                best, at, cost = run.goodput(), places, cpu / len(run.ok())
            bench.done(client, run)
        bench.capacity[size] = best
        lines.append(
            f"| {size:,} | {quantiles(alone.ok())[0]:.1f} | {best:.1f} ({at}) | "
            f"{best * size:,.0f} | {cost * 1e3:.1f} |"
        )
    return [*lines, ""]


async def held(bench: Bench) -> list[str]:
    """70 % of the capacity, open loop."""
    lines = [
        "| candidates | offered a second | answered | failed | p50 ms | p99 ms | p99.9 ms | "
        "last quarter's p99 / first's | client late, p99 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, questions in bench.questions.items():
        client, rate = bench.client(), SHARE * bench.capacity[size]
        run = await open_loop(client, turning(questions), rate, bench.seconds)
        bench.done(client, run)
        p50, p99, p999 = quantiles(run.ok())
        due, seconds = np.asarray(run.due), np.asarray(run.seconds)
        first = quantiles(seconds[due < bench.seconds / 4])[1]
        last = quantiles(seconds[due >= bench.seconds * 3 / 4])[1]
        lines.append(
            f"| {size:,} | {rate:.1f} | {len(run.ok()):,} | {len(run.status) - len(run.ok())} | "
            f"{p50:.1f} | {p99:.1f} | {p999:.1f} | {last / first:.2f} | "
            f"{quantiles(run.late)[1]:.1f} |"
        )
    return [*lines, ""]


async def overloaded(bench: Bench) -> list[str]:
    """More than the capacity."""
    size = SIZES[0]
    peak, questions = bench.capacity[size], bench.questions[size]
    lines = [
        f"| times the capacity ({size} candidates) | goodput / peak | p99 of the answered, ms | "
        "times the unloaded p99 | 503 | 504 | Retry-After missing | other, or no answer | "
        "p99 of a refusal (503), ms | client late, p50 and p99 ms | server busy | "
        "RSS before, after, MiB | seconds to recover |",
        "|" + "---|" * 13,
    ]
    for factor in FACTORS:
        client, before, cpu = bench.client(), bench.server.rss(), bench.server.cpu()
        run = await open_loop(client, turning(questions), factor * peak, bench.seconds)
        busy = (bench.server.cpu() - cpu) / bench.seconds
        late = quantiles(run.late)
        recovered = run.drained + await recovery(bench, client, questions)
        bench.done(client, run)
        counts, status = run.counts(), np.asarray(run.status)
        refused = np.asarray(run.seconds)[status == 503]
        p99 = quantiles(run.ok())[1]
        other = sum(n for code, n in counts.items() if code not in (200, 503, 504))
        lines.append(
            f"| {factor} | {run.goodput() / peak:.2f} | {p99:.0f} | "
            f"{p99 / 1e3 / bench.unloaded:.1f} | {counts.get(503, 0):,} | {counts.get(504, 0):,} | "
            f"{len(run.unnamed)} | {other} | {quantiles(refused)[1]:.1f} | "
            f"{late[0]:.1f}, {late[1]:.1f} | {busy:.0%} | "
            f"{before:.0f}, {bench.server.rss():.0f} | {recovered:.2f} |"
        )
    return [*lines, f"The deadline of each request is {bench.deadline:g} s.", ""]


async def recovery(bench: Bench, client: Client, questions: Sequence[Question]) -> float:
    """Seconds from the last answer on, until five in a row take at most three times the unloaded
    p99."""
    began, row, since = time.perf_counter(), 0, 0.0
    while row < 5 and time.perf_counter() - began < 30:
        start = time.perf_counter()
        reply = await client.ask(questions[row])
        good = reply.status == 200 and time.perf_counter() - start <= 3 * bench.unloaded
        since = start - began if good and row == 0 else since
        row = row + 1 if good else 0
    return since if row == 5 else float("inf")


async def reloading(bench: Bench, pairs: int) -> list[str]:
    """Windows with a hot reload and windows without, in turns."""
    size = SIZES[0]
    client, questions = bench.client(), bench.questions[size]
    rate, window = SHARE * bench.capacity[size], max(5.0, bench.seconds / 6)
    quiet: list[float] = []
    changed: list[float] = []
    reloads, failed = 0, 0
    for turn in range(2 * pairs):
        load = open_loop(client, turning(questions), rate, window, seed=turn // 2)
        if turn % 2:
            run, _ = await asyncio.gather(load, asyncio.to_thread(bench.world.reload, bench.server))
            reloads += 1
        else:
            run = await load
        (changed if turn % 2 else quiet).extend(run.seconds)
        failed += len(run.status) - len(run.ok())
        bench.done(client, run)
    without, within = quantiles(quiet), quantiles(changed)
    return [
        "| | p50 ms | p99 ms | requests |",
        "|---|---|---|---|",
        f"| windows of {window:.0f} s without | {without[0]:.1f} | {without[1]:.1f} | "
        f"{len(quiet):,} |",
        f"| windows with one reload each | {within[0]:.1f} | {within[1]:.1f} | {len(changed):,} |",
        "",
        f"{reloads} reloads, {failed} requests failed; p99 with over p99 without: "
        f"{within[1] / without[1]:.2f}. A new version is tried in a process of its own, on the "
        "server's cores, at nice 10.",
        "",
    ]


def stages(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> str:
    """Mean milliseconds by stage between two looks at /metrics."""
    found = []
    for stage, (seconds, count) in after.items():
        was = before.get(stage, (0.0, 0.0))
        if count > was[1]:
            found.append(f"{stage} {(seconds - was[0]) / (count - was[1]) * 1e3:.2f}")
    return ", ".join(found)


async def by_stage(bench: Bench) -> list[str]:
    """Where the time of a request goes, when it is alone."""
    lines = [
        "| candidates, one at a time | ms of the request, mean | server CPU ms | by stage, ms |"
    ]
    lines.append("|---|---|---|---|")
    for size, questions in bench.questions.items():
        client, before, cpu = bench.client(), bench.server.stages(), bench.server.cpu()
        run = await closed_loop(client, questions, 1, bench.seconds / 4)
        cost = (bench.server.cpu() - cpu) / len(run.ok())
        bench.done(client, run)
        told = stages(before, bench.server.stages())
        lines.append(f"| {size:,} | {run.ok().mean() * 1e3:.1f} | {cost * 1e3:.1f} | {told} |")
    return [*lines, ""]


def cold(start: Start, bench: Bench) -> list[str]:
    """From exec to ready, and the first request."""
    imports = float(np.median([import_seconds() for _ in range(STARTS)]))
    ready, first = [], []
    question = bench.questions[SIZES[0]][0]

    async def asked(port: int) -> Run:
        client = Client(port, bench.judge)
        run = await closed_loop(client, [question], 1, 0.001)
        bench.done(client, run)  # while the loop of its connections runs
        return run

    for _ in range(STARTS):
        with start() as server:
            ready.append(server.ready_seconds)
            first.append(asyncio.run(asked(server.port)).seconds[0] * 1e3)
    return [
        f"Median of {STARTS}: {np.median(ready):.2f} s from exec to ready, of which "
        f"{imports:.2f} s start Python and import; the first request ({SIZES[0]} candidates) takes "
        f"{np.median(first):.0f} ms, {np.median(first) / 1e3 / bench.unloaded:.1f} times the "
        "steady p99 of one at a time.",
        "",
    ]


def measured(bench: Bench, options: argparse.Namespace) -> list[str]:
    """All parts on one server."""
    learn(bench)
    parts: dict[str, tuple[str, Callable[[], Coroutine[Any, Any, list[str]]]]] = {
        "stages": ("Where the time goes", lambda: by_stage(bench)),
        "capacity": ("Capacity (closed loop)", lambda: capacity(bench)),
        "held": (f"At {SHARE:.0%} of the capacity (open loop)", lambda: held(bench)),
        "overload": ("Overload (open loop)", lambda: overloaded(bench)),
        "reloads": ("Hot reloads", lambda: reloading(bench, options.pairs)),
    }
    lines = []
    for name, (title, part) in parts.items():
        if name in options.parts or name == "capacity":
            told = [f"## {title}", "", *asyncio.run(part())]
            print("\n".join(told), flush=True)
            lines += told
    return lines


def report(options: argparse.Namespace, lines: list[str], load: float) -> str:
    """The page."""
    pinned = str(cores_of(options) or "not pinned")
    limits = ", ".join(f"{key} {value}" for key, value in limits_of(options).items()) or "defaults"
    source = "KuaiRand-Pure" if options.data_root else options.bundle or "a simulated feed"
    return "\n".join(
        [
            f"# Load on the server, {datetime.date.today()}",
            "",
            f"`python benchmarks/serving_load.py --seconds {options.seconds:g}`; "
            f"{'the bundle given' if options.bundle else source}. One machine of "
            f"{os.cpu_count()} cores shared by server and client, loopback, CPU; {pinned}; one "
            f"thread a pass. Limits: {limits}"
            f"{'; ' + ' '.join(options.serve) if options.serve else ''}.",
            "",
            *lines,
            f"Load of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}.",
            "",
        ]
    )


def limits_of(options: argparse.Namespace) -> dict[str, int]:
    """Of the server, where they are not its defaults."""
    given = {"max_requests": options.places, "queue_length": options.queue}
    return {name: value for name, value in given.items() if value is not None}


def flags() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser, "serving_load.md")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part")
    parser.add_argument("--pairs", type=int, default=4, help="of windows with and without reload")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--deadline-ms", type=int, default=1000)
    parser.add_argument("--places", type=int, help="the server's limits.max_requests")
    parser.add_argument("--queue", type=int, help="the server's limits.queue_length")
    return parser.parse_args()


def main() -> None:
    """Start, measure, write."""
    options, load = flags(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World.of(options.bundle or trained(options.data_root, folder), folder)

        def start() -> AbstractContextManager[Server]:
            cores, limits = cores_of(options), limits_of(options)
            return serving(world.link, folder, cores=cores, limits=limits, flags=options.serve)

        with start() as server:
            example = server.told("GET", "/v1/models/model/example")
            questions = {
                size: rankings(world.bundle, example, size, COUNT, options.deadline_ms)
                for size in SIZES
            }
            deadline = options.deadline_ms / 1e3
            bench = Bench(server, world, questions, options.seconds, deadline)
            lines = measured(bench, options)
        if "cold" in options.parts:
            lines += ["## Cold start", "", *cold(start, bench)]
    lines += [
        f"Wrong answers in all of it: {len(bench.faults)}"
        + "".join(f"; {fault}" for fault in sorted(set(bench.faults))[:5])
        + ".",
        "",
    ]
    text = report(options, lines, load)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
