"""Half an hour of mixed load: does memory stay flat, and is every answer right?

    python benchmarks/serving_soak.py --data-root ../shared/data --minutes 30

At 70 % of the capacity, open loop: rankings, of which every answer is compared byte for byte with
the idle server's, requests that must be refused, clients that leave in the middle, a value model
that changes every few seconds and a hot reload every minute. Then a second server runs for a
shorter time whose every ranking keeps 1 KiB (serving/leaking.py wraps it; the product has no such
switch): the same rule has to find that.

Memory is the resident set of the server's process, without its children. Its slope is that of a
line through the medians of equal stretches after warm-up, by requests. The result goes to
benchmarks/results/serving_soak.md. Data: KuaiRand-Pure, CC BY-SA 4.0 (Gao et al., CIKM 2022).
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.clients import FAILED, Client, Run, closed_loop, open_loop
from serving.flags import add_flags, cores_of
from serving.judge import Judge
from serving.process import Server, serving
from serving.questions import TRIAL, Question, mistakes, rankings
from serving.world import World, trained

SIZE = 100
COUNT = 24
DEADLINE_MS = 10_000
SHARE = 0.7
AT_ONCE = 8
LEAK = 1024
WARM = 0.25
"""Share of the time that is warm-up."""
STRETCHES = 15
MOST_SLOPE = 1.0
"""MiB a 100,000 requests."""
MOST_GROWTH = 16.0
"""MiB in all."""
MIX = {"mistake": 0.05, "leaver": 0.02, "trial": 0.10}
"""Shares of requests; the rest are rankings by the default profile."""


@dataclass
class Soaked:
    """What was seen of one server."""

    run: Run
    rate: float
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Requests so far, and MiB."""
    reloads: int = 0
    changes: int = 0

    def stretches(self) -> tuple[np.ndarray, np.ndarray]:
        """Medians of requests and MiB after warm-up."""
        points = np.asarray(self.memory)
        points = points[int(len(points) * WARM) :]
        parts = np.array_split(points, min(STRETCHES, len(points)))
        middles = np.asarray([np.median(part, axis=0) for part in parts])
        return middles[:, 0], middles[:, 1]

    def slope(self) -> tuple[float, float]:
        """MiB a 100,000 requests, and its standard error."""
        x, y = self.stretches()
        if len(x) < 4:
            return float("nan"), float("nan")
        (slope, _), covariance = np.polyfit(x / 1e5, y, 1, cov=True)
        return float(slope), float(np.sqrt(covariance[0, 0]))

    def growth(self) -> float:
        """MiB from the first stretch after warm-up to the last."""
        _, y = self.stretches()
        return float(y[-1] - y[0])

    def flat(self) -> bool:
        """No slope above the most but what chance could make, and not much growth."""
        slope, error = self.slope()
        return slope - 2 * error <= MOST_SLOPE and self.growth() <= MOST_GROWTH


def learn(
    world: World, server: Server, plain: Sequence[Question], trial: Sequence[Question]
) -> Judge:
    """The idle answers of both versions, and of both value models of the trial profile."""
    judge = Judge()
    for _ in range(2):
        world.reload(server)
        judge.learn(plain, server)
        for number in range(2):
            world.change(server, number)
            judge.learn(trial, server)
    return judge


def picking(
    plain: Sequence[Question], trial: Sequence[Question]
) -> Callable[[int], Question | None]:
    """The question of each place, by the mix; null: somebody who leaves."""
    wrong, rng = mistakes(DEADLINE_MS), np.random.default_rng(7)

    def pick(place: int) -> Question | None:
        drawn = rng.random()
        if drawn < MIX["leaver"]:
            return None
        if drawn < MIX["leaver"] + MIX["mistake"]:
            return wrong[place % len(wrong)]
        return (trial if drawn > 1 - MIX["trial"] else plain)[place % COUNT]

    return pick


async def unrest(world: World, server: Server, soaked: Soaked, every: tuple[float, float]) -> None:
    """Change the trial's value model and reload, for ever."""
    now = asyncio.get_running_loop().time
    due = now() + every[1]
    while True:
        await asyncio.sleep(every[0])
        await asyncio.to_thread(world.change, server, soaked.changes)
        soaked.changes += 1
        if now() >= due:
            await asyncio.to_thread(world.reload, server)
            soaked.reloads += 1
            due = now() + every[1]


async def watch(server: Server, soaked: Soaked, every: float) -> None:
    """Write the memory down, for ever."""
    while True:
        await asyncio.sleep(every)
        done = len(soaked.run.status) + soaked.run.expected_refusals
        soaked.memory.append((float(done), server.rss()))


async def soak(world: World, server: Server, minutes: float, every: tuple[float, float]) -> Soaked:
    """Load, unrest and a look at the memory, all at once."""
    example = server.told("GET", "/v1/models/model/example")
    plain = rankings(world.bundle, example, SIZE, COUNT, DEADLINE_MS)
    trial = rankings(world.bundle, example, SIZE, COUNT, DEADLINE_MS, TRIAL)
    world.change(server, 0)
    judge = await asyncio.to_thread(learn, world, server, plain, trial)
    client, seconds = Client(server.port, judge), minutes * 60
    most = await closed_loop(client, plain, AT_ONCE, min(20.0, seconds / 4))
    soaked = Soaked(run=Run(lasted=seconds), rate=SHARE * most.goodput())
    beside = [
        asyncio.create_task(unrest(world, server, soaked, every)),
        asyncio.create_task(watch(server, soaked, max(0.2, seconds / 600))),
    ]
    load = asyncio.create_task(
        open_loop(
            client,
            picking(plain, trial),
            soaked.rate,
            seconds,
            leaver=plain[0],
            into=soaked.run,
        )
    )
    done, _ = await asyncio.wait([load, *beside], return_when=asyncio.FIRST_COMPLETED)
    for task in (load, *beside):
        task.cancel()
    await asyncio.gather(load, *beside, return_exceptions=True)
    for task in done:
        task.result()
    client.close()
    return soaked


def soaked_with(world: World, options: argparse.Namespace, minutes: float, leak: int) -> Soaked:
    """A server of its own, soaked."""
    cores = cores_of(options)
    with serving(
        world.link, world.folder, cores=cores, limits={}, flags=options.serve, leak=leak
    ) as server:
        every = (options.change_seconds, options.reload_seconds)
        return asyncio.run(soak(world, server, minutes, every))


def table(named: Sequence[tuple[str, Soaked]]) -> list[str]:
    """One line a server."""
    lines = [
        "| server | rankings | answered | refused 503, 504 | no answer | other | wrong answers | "
        "bad requests | reloads, value models | p99 ms, first and last minute | "
        "MiB a 100,000 requests (error) | MiB grown | verdict |",
        "|" + "---|" * 13,
    ]
    for name, soaked in named:
        run, counts = soaked.run, soaked.run.counts()
        slope, error = soaked.slope()
        due, seconds = np.asarray(run.due), np.asarray(run.seconds) * 1e3
        p99 = [
            float(np.quantile(seconds[chosen], 0.99)) if chosen.any() else float("nan")
            for chosen in (due < 60, due >= run.lasted - 60)
        ]
        other = sum(n for code, n in counts.items() if code not in (200, 503, 504, FAILED))
        shed = counts.get(503, 0) + counts.get(504, 0)
        lines.append(
            f"| {name} | {len(run.status):,} | {counts.get(200, 0):,} | {shed} | "
            f"{counts.get(FAILED, 0)} | {other} | {len(run.faults)} | {run.expected_refusals:,} | "
            f"{soaked.reloads}, {soaked.changes} | {p99[0]:.0f}, {p99[1]:.0f} | "
            f"{slope:.1f} ({error:.1f}) | {soaked.growth():.1f} | "
            f"{'flat' if soaked.flat() else 'leaks'} |"
        )
    return [*lines, ""]


def memory_lines(soaked: Soaked) -> list[str]:
    """The memory over the time, for the eye."""
    points = np.asarray(soaked.memory)
    parts = np.array_split(points, min(10, len(points)))
    told = ", ".join(f"{np.median(part[:, 1]):.1f}" for part in parts)
    return [f"Resident MiB, medians of ten stretches from the start: {told}.", ""]


def flags() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser, "serving_soak.md")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--control-minutes", type=float, default=4.0, help="of the planted leak")
    parser.add_argument("--change-seconds", type=float, default=5.0)
    parser.add_argument("--reload-seconds", type=float, default=60.0)
    return parser.parse_args()


def main() -> None:
    """Soak, find the planted leak, write."""
    options, load = flags(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World.of(options.bundle or trained(options.data_root, folder), folder)
        named = [("polyrank serve", soaked_with(world, options, options.minutes, 0))]
        print("\n".join(table(named)), flush=True)
        if options.control_minutes > 0:
            control = soaked_with(world, options, options.control_minutes, LEAK)
            named.append((f"with {LEAK} bytes kept of each ranking", control))
    pinned = str(cores_of(options) or "not pinned")
    lines = [
        f"# Soak, {datetime.date.today()}",
        "",
        f"`python benchmarks/serving_soak.py --minutes {options.minutes:g}`: {SIZE} candidates a "
        f"request, {SHARE:.0%} of the capacity ({named[0][1].rate:.1f} a second), open loop, "
        f"{MIX['mistake']:.0%} bad requests, {MIX['leaver']:.0%} clients that leave, "
        f"{MIX['trial']:.0%} by a profile whose value model changes. {os.cpu_count()} cores shared "
        f"by server and client, loopback; {pinned}.",
        "",
        *table(named),
        *memory_lines(named[0][1]),
        f"Flat: at most {MOST_SLOPE:g} MiB a 100,000 requests beyond twice the error of the slope, "
        f"and at most {MOST_GROWTH:g} MiB in all, after {WARM:.0%} of the time.",
        *(f"Wrong: {fault}" for fault in sorted({*named[0][1].run.faults})[:10]),
        f"Load of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}.",
        "",
    ]
    options.out.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
