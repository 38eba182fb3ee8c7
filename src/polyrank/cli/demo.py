"""``polyrank demo``: a simulated feed, end to end, in a minute."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from polyrank.config import RunConfig
    from polyrank.scoring import Scorer


def demo(
    folder: Annotated[Path, typer.Option(help="Where the log, the run and the bundle go.")] = Path(
        "demo"
    ),
    rows: Annotated[int, typer.Option(min=20_000, help="Impressions to simulate.")] = 400_000,
    seed: Annotated[int, typer.Option(min=0, help="Every random choice follows from it.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Simulate a feed, train one model for six objectives, evaluate, save, rank one request."""
    import time

    from polyrank.cli.tables import console, ledger_line, metric_table
    from polyrank.run import evaluations, progress, train_bundle
    from polyrank.scoring import Scorer
    from polyrank.training import open_sources

    began = time.perf_counter()
    out = console()
    log = folder / "log.parquet"
    _simulate(log, rows, seed, quiet=quiet)
    config = _configuration(log, seed)
    _write_yaml(folder / "ranker.yaml", config)
    with progress(quiet=quiet) as watcher:
        bundle = train_bundle(
            config,
            open_sources(config.data, folder),
            folder / "run",
            resume="never",
            watcher=watcher,
            save=True,
        )
    out.print(ledger_line(bundle.card.ledger), highlight=False)
    test = evaluations(bundle)["test"]
    out.print(metric_table(test, "The last day of the feed, which no choice has seen"))
    _show_ranking(out, Scorer(bundle), log)
    out.print(
        f"{time.perf_counter() - began:.0f} s. Bundle {folder / 'run' / 'bundle'}, version "
        f"{bundle.version[:12]}.\nNext: polyrank card {folder / 'run' / 'bundle'}, or change "
        f"{folder / 'ranker.yaml'} and: polyrank train {folder / 'ranker.yaml'}",
        highlight=False,
    )


def _simulate(log: Path, rows: int, seed: int, *, quiet: bool) -> None:
    import pyarrow.parquet as pq
    from rich.progress import Progress

    from polyrank.errors import StorageError
    from polyrank.simulation import Feed, FeedConfig

    feed = Feed(FeedConfig(seed=seed))
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            pq.ParquetWriter(log, feed.schema, write_page_checksum=True) as writer,
            Progress(disable=quiet, transient=False) as bars,
        ):
            bar = bars.add_task(f"simulate {rows:,} impressions", total=rows)
            for table in feed.tables(rows):
                writer.write_table(table)
                bars.advance(bar, table.num_rows)
    except OSError as error:
        raise StorageError(
            f"the simulated log cannot be written: {error.strerror or error}", where=str(log)
        ) from error


def _configuration(log: Path, seed: int) -> RunConfig:
    """Train on all days but the last two; choose on the last but one, report on the last."""
    from polyrank.config import DataConfig, RunConfig, TrainingConfig
    from polyrank.data import TimeSplit
    from polyrank.simulation import FeedConfig, feed_schema

    feed = FeedConfig(seed=seed)
    last_day = feed.start + datetime.timedelta(days=feed.days - 1)
    return RunConfig(
        schema_=feed_schema(feed.embedding_dim),
        data=DataConfig(
            log=log.name,
            split=TimeSplit(
                validation_from=_milliseconds(last_day - datetime.timedelta(days=1)),
                test_from=_milliseconds(last_day),
            ),
        ),
        training=TrainingConfig(epochs=3, batch_size=2048),
        output="run",
        seed=seed,
    )


def _milliseconds(day: datetime.date) -> int:
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
    return int(midnight.timestamp()) * 1000


def _write_yaml(path: Path, config: RunConfig) -> None:
    from ruamel.yaml import YAML

    tree: dict[str, Any] = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(tree, file)


def _show_ranking(out: Console, scorer: Scorer, log: Path) -> None:
    """Rank the log's last whole request, and show what the simulation knows beside it."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from polyrank.cli.tables import candidate_table
    from polyrank.simulation import observed

    tail = pq.ParquetFile(log)
    table = tail.read_row_group(tail.num_row_groups - 1)
    request = table["request_id"][0]
    candidates = table.filter(pc.equal(table["request_id"], request))
    ranked = scorer.rank(observed(candidates), keep=["item_category"])
    truth = candidates.select(["item_id", "truth_satisfaction", "truth_clickbait"])
    shown = ranked.join(truth, "item_id").sort_by([("score", "descending")])
    tasks = [f"predicted_{task}" for task in scorer.bundle.schema.task_names]
    columns = ["item_id", "item_category", *tasks, "score", "truth_satisfaction", "truth_clickbait"]
    out.print(candidate_table(shown, columns, f"Candidates of request {request}, best first"))
    out.print(
        "long_view, purchase and watch_time are given a click. The score weighs every objective\n"
        "about equally; truth_ columns are what only a simulation knows.",
        highlight=False,
    )
