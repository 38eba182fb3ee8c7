"""A tiny run with three tasks, and what its audit works on, in this process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyrank.audit.config import AuditConfig, check_audit
from polyrank.audit.jobs import Bench, Job
from polyrank.audit.variants import Changes, Variant
from polyrank.config import RunConfig
from polyrank.schema import parse
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed
from polyrank.training import Sources, prepare
from polyrank.training.validation import Truth

TASKS = ("click", "like", "watch_time")
FEED = FeedConfig(num_users=60, num_items=40)
ROWS = {"train": 1200, "validation": 400, "test": 400}


@cache
def logs() -> dict[str, pa.Table]:
    """The parts of a log."""
    whole = observed(pa.concat_tables(list(Feed(FEED).tables(sum(ROWS.values())))))
    starts = (0, ROWS["train"], ROWS["train"] + ROWS["validation"])
    return {
        part: whole.slice(start, count)
        for start, (part, count) in zip(starts, ROWS.items(), strict=True)
    }


def schema_tree(tasks: tuple[str, ...] = TASKS) -> dict[str, Any]:
    """The feed's schema with these tasks."""
    tree = feed_schema(FEED.embedding_dim).model_dump(mode="json")
    tree["tasks"] = [task for task in tree["tasks"] if task["name"] in tasks]
    return tree


def run_tree(tasks: tuple[str, ...] = TASKS, **sections: Any) -> dict[str, Any]:
    """A tiny run; ``sections`` stand instead of its own."""
    return {
        "schema": schema_tree(tasks),
        "data": {part: f"{part}.parquet" for part in ROWS},
        "model": {
            "embedding_dim": 4,
            "sharing": {"kind": "mmoe", "num_experts": 2, "widths": [8]},
            "towers": {"widths": [8]},
        },
        "training": training(),
        **sections,
    }


def training(**changes: Any) -> dict[str, Any]:
    """Six steps, two epochs."""
    small = {"epochs": 2, "batch_size": 400, "precision": "fp32", "device": "cpu", "threads": 1}
    return {**small, "warmup_steps": 0, "select": {"patience": 0}, **changes}


def run_config(tasks: tuple[str, ...] = TASKS, **sections: Any) -> RunConfig:
    """The same as a configuration."""
    return parse(RunConfig, run_tree(tasks, **sections))


def sources(parts: dict[str, pa.Table] | None = None) -> Sources:
    """The log, or another one."""
    found = logs() if parts is None else parts
    return Sources.of(train=found["train"], validation=found["validation"], test=found.get("test"))


def bench(config: RunConfig, folder: Path, parts: dict[str, pa.Table] | None = None) -> Bench:
    """What runs of this log have in common."""
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, sources(parts), folder)
    assert prepared.test is not None
    truth = Truth.of(prepared.test, config.schema_)
    metrics = check_audit(config, AuditConfig())
    return Bench(prepared=prepared, part="test", metrics=metrics, truth=truth)


def job(config: RunConfig, variant: Variant, seed: int = 0, **given: Any) -> Job:
    """A run of a variant."""
    metrics = check_audit(config, AuditConfig())
    changes = Changes(config=config, metrics=metrics, usual={}, **given)
    return Job(variant=variant, seed=seed, config=changes.apply(variant, seed))


def twin(task: str) -> Variant:
    """The task by itself."""
    return Variant(kind="twin", tasks=(task,))


JOINT = Variant(kind="joint", tasks=TASKS)
