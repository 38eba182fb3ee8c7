"""``polyrank demo``: a simulated feed, end to end, in a minute."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from polyrank.config import RunConfig


LAST_DAY = "last_day.parquet"
"""In the folder: the rows that no choice has seen."""


def demo(
    folder: Annotated[Path, typer.Option(help="Where the log, the run and the bundle go.")] = Path(
        "demo"
    ),
    rows: Annotated[int, typer.Option(min=5_000, help="Impressions to simulate.")] = 300_000,
    seed: Annotated[int, typer.Option(min=0, help="Every random choice follows from it.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Simulate a feed, train, evaluate, save and rank: a minute."""
    import time

    from polyrank.cli.demo_ranking import show_orders, show_request
    from polyrank.cli.tables import console, ledger_lines, show_evaluation
    from polyrank.run import BUNDLE, evaluations, progress, run_folder, train_bundle
    from polyrank.scoring import Scorer
    from polyrank.training import open_sources

    began = time.perf_counter()
    out = console()
    log, yaml = folder / "log.parquet", folder / "ranker.yaml"
    _simulate(log, rows, seed, quiet=quiet)
    config = _configure(log, yaml, seed)
    run = run_folder(config)
    _start_afresh(run)
    # It would say that nothing reads the truth, which is meant so.
    with progress(quiet=quiet, notices=False) as watcher:
        sources = open_sources(config.data, folder)
        bundle = train_bundle(config, sources, run, watcher=watcher, save=True, test=True)
    out.print(ledger_lines(bundle.card.ledger))
    out.print()
    show_evaluation(out, evaluations(bundle)["test"], "The last day, which no choice has seen")
    scorer, last_day = Scorer(bundle), _last_day(log, config, folder / LAST_DAY)
    out.print()
    show_request(out, scorer, last_day)
    out.print()
    show_orders(out, scorer, last_day)
    out.print(
        f"\n{time.perf_counter() - began:.0f} s for {rows:,} impressions. Next:\n"
        f"  polyrank card {run / BUNDLE}\n"
        f"  polyrank train {yaml} --output {folder / 'mine'} --set model.sharing.num_experts=4\n"
        f"  polyrank compare {run / BUNDLE} {folder / 'mine' / BUNDLE} {folder / LAST_DAY}",
        soft_wrap=True,
    )


def _simulate(log: Path, rows: int, seed: int, *, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from polyrank.simulation import Feed, FeedConfig
    from polyrank.simulation.writer import write_log

    err = Console(stderr=True, highlight=False)
    feed = Feed(FeedConfig(seed=seed))
    with Progress(console=err, disable=quiet or not err.is_terminal) as bars:
        bar = bars.add_task(f"simulate {rows:,} impressions", total=rows)

        def tables() -> Iterator[pa.Table]:
            for table in feed.tables(rows):
                yield table
                bars.advance(bar, table.num_rows)

        write_log(log, tables(), feed.schema)
    if not (quiet or err.is_terminal):
        err.print(f"simulated {rows:,} impressions into {log}", soft_wrap=True)


def _start_afresh(run: Path) -> None:
    """Remove the checkpoints of an earlier demo."""
    import shutil

    from polyrank.storage import RunLock, check_writable
    from polyrank.storage.failures import storage_errors

    check_writable(run)
    with RunLock(run), storage_errors("remove the earlier run", run.name):
        for name in ("checkpoints", "cache"):
            if (run / name).is_dir():
                shutil.rmtree(run / name)
        (run / "log.jsonl").unlink(missing_ok=True)


def _configure(log: Path, yaml: Path, seed: int) -> RunConfig:
    """Train on all days but the last two; choose on the last but one, report on the last."""
    from polyrank.config import load_config
    from polyrank.data import TimeSplit
    from polyrank.schema import to_yaml
    from polyrank.simulation import FeedConfig, feed_schema
    from polyrank.starter import flow, model_lines, quoted

    feed = FeedConfig(seed=seed)
    last_day = feed.start + datetime.timedelta(days=feed.days - 1)
    split = TimeSplit(
        validation_from=_milliseconds(last_day - datetime.timedelta(days=1)),
        test_from=_milliseconds(last_day),
    )
    lines = [
        "# A simulated feed; polyrank demo wrote this file.",
        "data:",
        '  root: "."  # where relative paths start: the folder of this file',
        f"  log: {log.name}",
        "  # The last day judges, the one before it chooses.",
        f"  split: {flow(split)}",
        "schema:",
        to_yaml(feed_schema(feed.embedding_dim), indent=2).rstrip("\n"),
        *model_lines(),
        "training: {epochs: 3, batch_size: 2048}",
        f"output: {quoted(str(log.parent / 'run'))}",
        f"seed: {seed}",
    ]
    _write(yaml, "\n".join(lines) + "\n")
    return load_config(yaml)


def _milliseconds(day: datetime.date) -> int:
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
    return int(midnight.timestamp()) * 1000


def _write(path: Path, text: str) -> None:
    """Write the configuration; another one of that name stays beside it."""
    from polyrank.storage.failures import storage_errors

    with storage_errors("write the configuration", path.name):
        if path.exists() and path.read_bytes() != text.encode():
            path.replace(path.with_suffix(".yaml.old"))
        path.write_bytes(text.encode())


def _last_day(log: Path, config: RunConfig, out: Path) -> pa.Table:
    """The test rows, also written into a file of their own."""
    import pyarrow.parquet as pq

    from polyrank.simulation.writer import write_log

    split: Any = config.data.split
    table = pq.read_table(log, filters=[("time_ms", ">=", split.test_from)])
    write_log(out, [table], table.schema)
    return table
