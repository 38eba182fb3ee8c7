"""Does every way to share cost what its multiply-adds predict? And what do 16 tasks cost?

    python benchmarks/sharing_speed.py

The log of training_speed.py (26 ids, 13 numbers, width 16, batch 4096, bf16), every architecture as
it stands by default or with experts of 256-128; milliseconds of CPU of one thread for forward,
losses and backward of a training batch, and for scoring the same rows, in turns with MMoE. The
table updates are left out: they are the same for all.

The result goes to benchmarks/results/sharing_speed.md.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from polyrank.data.batch import Batch
from polyrank.data.layout import Layout, TargetStats
from polyrank.heads import masked_mean
from polyrank.layers import FlatTable, cost_of
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import Binary, Categorical, Numeric, Schema
from polyrank.sharing import (
    CGC,
    PLE,
    SNR,
    STEM,
    AdaTT,
    AnySharing,
    CrossStitch,
    DSelectK,
    Groups,
    HoME,
    MMoE,
    OMoE,
    PEPNet,
    SharedBottom,
    SingleTask,
)
from polyrank.training.malloc import tune_allocator
from training_step import NUM_IDS, NUM_NUMBERS, batches
from training_step import layout as three_tasks

HERE = Path(__file__).resolve().parent
MANY = 16
"""Tasks of the second question."""


def architectures(tasks: tuple[str, ...]) -> Mapping[str, AnySharing]:
    """What is timed; MMoE is what the others are predicted from."""
    half = {"first": tasks[:2], "second": tasks[2:]}
    return {
        "MMoE": MMoE(),
        "OMoE": OMoE(),
        "shared-bottom": SharedBottom(),
        "single-task": SingleTask(),
        "DSelect-k": DSelectK(num_experts=8),
        "CGC": CGC(),
        "PLE": PLE(),
        "cross-stitch": CrossStitch(),
        "SNR": SNR(),
        "AdaTT": AdaTT(),
        "STEM": STEM(),
        "HoME": HoME(groups=half),
        "PEPNet": PEPNet(domain=("id0",), priors=("id1", "id2")),
        "groups of MMoE": Groups(groups=half, sharing=MMoE()),
        "MMoE, batch norm and Swish": MMoE(norm="batch", activation="swish"),
    }


@dataclass(frozen=True)
class Timed:
    """A network and its times."""

    multiply_adds: int
    parameters: int
    train: list[float]
    score: list[float]


def build(sharing: AnySharing, tasks: tuple[str, ...]) -> RankingModel:
    """The network on the benchmark's layout."""
    schema = Schema(
        features=(
            *(Categorical(name=f"id{i}") for i in range(NUM_IDS)),
            *(Numeric(name=f"n{i}") for i in range(NUM_NUMBERS)),
        ),
        tasks=tuple(Binary(name=task) for task in tasks),
    )
    base = three_tasks()
    layout = Layout(
        ids=base.ids,
        numerics=base.numerics,
        ragged=(),
        vectors=(),
        tasks=tasks,
        num_rows=100_000,
        targets={task: TargetStats(mean=0.3, std=1.0, count=1) for task in tasks},
    )
    return RankingModel(schema, layout, ModelConfig(sharing=sharing), seed=0)


def train_once(model: RankingModel, batch: Batch) -> None:
    """Forward, every loss, backward."""
    with torch.autocast("cpu", torch.bfloat16):
        forward = model(batch)
    assert batch.weight_B is not None
    every = torch.ones(len(batch), dtype=torch.bool)
    count, label_B = torch.tensor(float(len(batch))), (batch.ids_BF[:, 0] % 3 == 0).float()
    losses = [
        masked_mean(head.loss(forward.logits[task], label_B), every, batch.weight_B, count)
        for task, head in model.heads.items()
    ]
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def score_once(model: RankingModel, batch: Batch) -> None:
    """Forward only."""
    with torch.autocast("cpu", torch.bfloat16):
        model(batch)


def milliseconds(call: Callable[[], None]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1e3


def measure(models: Mapping[str, RankingModel], batch: Batch, rounds: int) -> dict[str, Timed]:
    """Time all of them in turns."""
    found = {}
    for name, model in models.items():
        table = sum(t.weight.numel() for t in model.modules() if isinstance(t, FlatTable))
        cost = cost_of(model)
        found[name] = Timed(cost.multiply_adds, cost.parameters - table, [], [])
    for turn in range(rounds + 1):
        for name, model in models.items():
            train = milliseconds(lambda model=model: train_once(model.train(), batch))
            score = milliseconds(lambda model=model: score_once(model.eval(), batch))
            if turn:
                found[name].train.append(train)
                found[name].score.append(score)
    return found


def table(found: Mapping[str, Timed]) -> list[str]:
    """A row an architecture: time over what MMoE's time and the multiply-adds predict."""
    lines = [
        "| architecture | parameters | multiply-adds a row | training, ms | of predicted | "
        "scoring, ms | of predicted |",
        "|---|---|---|---|---|---|---|",
    ]
    base = found["MMoE"]
    for name, one in found.items():
        share = one.multiply_adds / base.multiply_adds
        cells = [f"{one.parameters:,}", f"{one.multiply_adds:,}"]
        for mine, reference in ((one.train, base.train), (one.score, base.score)):
            value, expected = statistics.median(mine), statistics.median(reference) * share
            cells += [f"{value:.1f}", f"{value / expected:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Both questions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    (batch,) = batches(1)
    batch.ids_BF.remainder_(100_000)
    tasks = ("click", "like", "watch")
    chosen = architectures(tasks)
    names = [name for name in chosen if not given.only or name in {"MMoE", *given.only}]
    models = {name: build(chosen[name], tasks) for name in names}
    lines = table(measure(models, batch, given.rounds))
    many = {
        str(count): build(MMoE(), tuple(f"t{place}" for place in range(count)))
        for count in (1, MANY)
    }
    times = measure(many, batch, given.rounds)
    ratio = [
        statistics.median(getattr(times[str(MANY)], name))
        / statistics.median(getattr(times["1"], name))
        for name in ("train", "score")
    ]
    lines += [
        "",
        f"MMoE with {MANY} tasks takes {ratio[0]:.2f} times one task's training time and "
        f"{ratio[1]:.2f} times its scoring time (target: 2).",
    ]
    head = [
        f"# What sharing costs, {datetime.date.today()}",
        "",
        f"`python benchmarks/sharing_speed.py --rounds {given.rounds}`; the log of "
        "training_speed.py (26 ids and 13 numbers, tables 16 wide, batch 4096, bf16), three tasks, "
        "the settings in `architectures()`. Milliseconds of CPU of one thread, medians in turns "
        'with MMoE: forward, losses and backward of a batch; and scoring it. "Of predicted": over '
        "MMoE's time times the ratio of multiply-adds (target: at most 1.5).",
        "",
    ]
    (HERE / "results" / "sharing_speed.md").write_text(
        "\n".join([*head, *lines, ""]), encoding="utf-8"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
