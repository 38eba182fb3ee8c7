"""CPU time of a ranking request by stage, in one process: what Python and Arrow cost, not HTTP.

    python benchmarks/request_path.py --bundle runs/kuairand/bundle
    python benchmarks/request_path.py --bundle runs/kuairand/bundle --before ../older/src

A request goes the server's way: its JSON is read, its features are found by id, they are checked,
encoded, scored, put in order and answered. With ``--before``, the ``src`` folder of an older state,
both take turns, each in a process of its own, on the same machine at the same time; all answers of
both must be the same bytes. The result goes to benchmarks/results/request_path.md.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SRC = HERE.parent / "src"
SIZES = (200, 1000)
WAYS = {"by id": False, "by id, each candidate with a feature of its own": True}
STAGES = ("parse", "features", "encode", "model", "order", "answer")
COUNT = 24
"""Requests of each size; they repeat."""
Found = dict[str, Any]


def bodies(bundle: Any, size: int, *, brought: bool) -> Iterator[bytes]:
    """Requests of random users and items; the context is the same for all, or one column of it is
    each candidate's own."""
    rng = np.random.default_rng(size)
    keys, on = bundle.schema.keys, {side.on: side for side in bundle.schema.tables}
    users = bundle.tables[on[keys.user].name].column(on[keys.user].key).to_numpy()
    items = bundle.tables[on[keys.item].name].column(on[keys.item].key).to_numpy()
    joined = {name for table in bundle.tables.values() for name in table.column_names}
    context = {name: 1 for name in bundle.schema.feature_columns(bias=False) if name not in joined}
    for _ in range(COUNT):
        chosen: list[Any] = rng.choice(items, size, replace=size > len(items)).tolist()
        if brought:
            name = next(iter(context))
            values = rng.integers(3, size=size).tolist()
            chosen = [
                {"id": item, "features": {name: value}}
                for item, value in zip(chosen, values, strict=True)
            ]
        user = {"id": rng.choice(users).item()}
        yield json.dumps({"user": user, "candidates": chosen, "context": context}).encode()


def answerer(bundle: Any) -> Callable[[bytes, dict[str, float]], bytes]:
    """What answers a request as the server does, its stages told in CPU seconds."""
    import polyrank.serving.ranking.ranker as ranking
    from polyrank.scoring import Order, Scorer
    from polyrank.scoring.engines import choose
    from polyrank.serving.deadline import Deadline
    from polyrank.serving.features import Provider
    from polyrank.serving.models import Served

    ranking.monotonic = time.thread_time  # ``timed`` reads it: CPU seconds instead of the clock's
    engine = choose(bundle, "onnx", threads=1)
    scorer, order = Scorer(bundle, engine), Order.of(bundle)
    ranker = ranking.ModelRanker(scorer, Provider.open(bundle.schema, bundle.tables, {}))
    served = Served(
        model="model",
        version="1",
        scorer=scorer,
        engine=engine,
        profiles={"default": order},
        values={"default": 0},
        rows=None,
        loaded_at="",
    )
    return lambda body, stages: _answered(body, stages, ranker, order, served, Deadline.never())


def _answered(
    body: bytes, stages: dict[str, float], ranker: Any, order: Any, served: Any, deadline: Any
) -> bytes:
    from polyrank.serving.ranking import answer_of, parse, timed

    with timed(stages, "parse"):
        ask = parse(body)
    ranked = ranker.rank(ask, order, deadline, stages)
    with timed(stages, "answer"):
        answer: bytes = answer_of(served, ranked, "request")
    return answer


def measure(path: Path, seconds: float) -> Found:
    """By way and size: median CPU ms by stage, and a digest of the answers."""
    from polyrank.bundle import load_bundle

    bundle = load_bundle(path)
    answer = answerer(bundle)
    found: Found = {}
    for way, brought in WAYS.items():
        for size in SIZES:
            asked = list(bodies(bundle, size, brought=brought))
            digest = hashlib.sha256(b"".join(answer(body, {}) for body in asked)).hexdigest()
            times: list[dict[str, float]] = []
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for body in asked:
                    times.append({})
                    answer(body, times[-1])
            stages = {
                stage: float(np.median([each[stage] for each in times])) * 1e3 for stage in STAGES
            }
            found[f"{size} {way}"] = {"ms": stages, "digest": digest}
    return found


def in_turns(sources: dict[str, Path], options: argparse.Namespace) -> dict[str, list[Found]]:
    """What each state measured, a process a turn."""
    command = [sys.executable, __file__, "--bundle", str(options.bundle), "--measure"]
    command += ["--seconds", str(options.seconds)]
    found: dict[str, list[Found]] = {name: [] for name in sources}
    for _ in range(options.turns):
        for name, source in sources.items():
            environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            found[name].append(json.loads(done.stdout))
    return found


def table(found: dict[str, list[Found]]) -> Iterator[str]:
    """A line for each kind of request and state: the least of all turns, by stage."""
    yield "| candidates | state | " + " | ".join(STAGES) + " | features + encode |"
    yield "|---" * (len(STAGES) + 3) + "|"
    for kind in next(iter(found.values()))[0]:
        for name, turns in found.items():
            ms = {stage: min(turn[kind]["ms"][stage] for turn in turns) for stage in STAGES}
            both = ms["features"] + ms["encode"]
            cells = [f"{value:.2f}" for value in (*ms.values(), both)]
            yield f"| {kind} | {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, and write down what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="the src folder of an older state")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each kind of request")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "request_path.md")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.bundle, options.seconds)))
        return
    before = {} if options.before is None else {"before": options.before.resolve()}
    found = in_turns({**before, "now": SRC}, options)
    digests = [
        {kind: told["digest"] for kind, told in turn.items()}
        for turns in found.values()
        for turn in turns
    ]
    assert all(each == digests[0] for each in digests), "the answers differ"
    lines = [
        "# Where a request's CPU time goes",
        "",
        f"{datetime.date.today().isoformat()}; `{Path(__file__).name}`, one thread, ONNX Runtime "
        f"fp32; median CPU ms of a request, the least of {options.turns} turns. "
        "All answers are the same bytes.",
        "",
        *table(found),
    ]
    options.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
