"""A run from its sources to an evaluated bundle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.console import Console
from rich.status import Status

from polyrank.bundle import Bundle, Card, DataDates, describe_tasks, environment, save_bundle
from polyrank.calibration import Curve
from polyrank.config import RunConfig, data_root
from polyrank.data import Quarantine, Reader
from polyrank.errors import ConfigError, PolyrankError, suggest
from polyrank.evaluation import Evaluation
from polyrank.lineage import extended, lineage, seen_by, with_gains
from polyrank.scoring import (
    Scorer,
    calibrated,
    check_slices,
    columns_of,
    evaluate_rows,
    fingerprints,
)
from polyrank.scoring.profiles import MOST_ROWS, Thinned, profile_rows
from polyrank.training import (
    Observer,
    Prepared,
    ProgressReport,
    Sources,
    TrainResult,
    prepare,
    train,
)
from polyrank.training.sources import WHOLE

Resume = Literal["never", "auto", "strict"]

BUNDLE = "bundle"
"""In the run's folder: the bundle."""
HELD_OUT = ("validation", "test")
"""The parts that a run can be evaluated on; on the second one only when that is asked for."""


_STAGES = {"fit": "fit encoders"}
_SAFE = "The bundle is saved as it was before; `polyrank train --resume` does the rest."


class Watcher:
    """What a run is watched by: stages of preparation, then an observer of the loop.

    Args:
        observer: Of the training loop.
        console: Where stages and notices go: a line each, or, on a terminal, one that changes;
            null: nowhere.
        notices: Whether notices are shown.
    """

    def __init__(
        self,
        observer: Observer | None = None,
        console: Console | None = None,
        *,
        notices: bool = True,
    ) -> None:
        self.observer = observer
        self._console, self._notices = console, notices
        self._status: Status | None = None
        self._stage = ""

    def stage(self, name: str, rows: int) -> None:
        """Tell what is being done, and how many rows were so far."""
        name = _STAGES.get(name, name)
        if self._console is None:
            return
        if self._console.is_terminal:
            self._update(f"{name}: {rows:,} rows")
        elif name != self._stage:
            self._say(name)
        self._stage = name

    def notice(self, text: str) -> None:
        """Something a reader should know that does not stop the run."""
        if self._notices:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._console is not None:
            wraps = not self._console.is_terminal
            self._console.print(text, markup=False, highlight=False, soft_wrap=wraps)

    def done(self) -> None:
        """The stage is over."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _update(self, text: str) -> None:
        if self._status is None:
            self._status = Status(text, console=self._console)
            self._status.start()
        self._status.update(text)


@contextmanager
def progress(*, quiet: bool, notices: bool = True) -> Iterator[Watcher]:
    """A watcher that shows stages, bars and notices on stderr; a silent one if ``quiet``."""
    if quiet or not is_main_process():
        yield Watcher()
        return
    console = Console(stderr=True)
    watcher = Watcher(ProgressReport(console), console, notices=notices)
    try:
        yield watcher
    finally:
        watcher.done()


def is_main_process() -> bool:
    """Whether this process speaks: the only one, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def find_root(config: RunConfig, path: Path, override: Path | None) -> Path:
    """The folder that relative data paths start from: ``override``, else ``config.data_root``."""
    return override if override is not None else data_root(config.data, path.parent)


def run_folder(config: RunConfig) -> Path:
    """The run's folder."""
    return Path(config.output)


def train_bundle(
    config: RunConfig,
    sources: Sources,
    run_dir: Path | None,
    *,
    resume: Resume = "never",
    watcher: Watcher | None = None,
    save: bool = False,
    test: bool = False,
    parent: Bundle | None = None,
) -> Bundle:
    """Prepare, train, evaluate, and make the bundle.

    Args:
        config: The run.
        sources: The opened logs.
        run_dir: The run's folder; null: a temporary one that is removed.
        resume: Whether to continue the run in the folder.
        watcher: Told of the progress.
        save: Write the bundle into the folder.
        test: Evaluate on the test part, too, if there is one. Metrics that are always there get
            chosen by, so they have to be asked for, once every choice is made.
        parent: A trained model to start from, whose schema that of ``config`` extends.

    Returns:
        The bundle, with its version if it was saved.

    Raises:
        ConfigError: ``config`` does not extend the parent; every difference is named.
    """
    watcher = watcher or Watcher()
    config, origin = extended(config, parent)
    check_slice_columns(config, sources)
    with ExitStack() as stack:
        if run_dir is None:
            run_dir = _temporary_folder(stack)
        known = None if origin is None else origin.encoders
        prepared = prepare(config, sources, run_dir, report=watcher.stage, parent=known)
        watcher.done()
        for notice in prepared.notices:
            watcher.notice(notice)
        parts = [part for part in HELD_OUT[: 1 + test] if part in prepared.data_dates]
        for notice in () if parent is None else seen_by(parent, prepared.data_dates, parts):
            watcher.notice(notice)
        if parent is not None and parent.values.in_force is not None:
            watcher.notice(f"ranks by the parent's value model: {parent.values.in_force.told}")
        report = config.evaluation
        if report.slices:
            for part in parts:
                chunks = rows_of(config, sources, prepared.tables, part)
                check_slices(chunks, report.slices, report.exact_rows)
        result = train(
            config, prepared, run_dir, resume=resume, observer=watcher.observer, parent=origin
        )
        bundle = _bundle(config, sources, prepared, result, lineage(config, origin))
        if parent is not None:
            bundle = replace(bundle, values=parent.values)
        if not is_main_process():
            return bundle
        folder = run_dir / BUNDLE if save else None
        return _finished(
            bundle,
            folder,
            lambda trained: _calibrated(trained, config, sources, watcher, parent),
            lambda whole: _evaluated(whole, config, sources, parts, watcher, parent),
        )


def evaluations(bundle: Bundle) -> dict[str, Evaluation]:
    """The evaluations in a bundle's card, by part."""
    metrics = bundle.card.metrics
    return {part: Evaluation.from_json(metrics[part]) for part in HELD_OUT if part in metrics}


def check_slice_columns(config: RunConfig, sources: Sources) -> None:
    """The report comes after training; what it asks for is checked before.

    Raises:
        ConfigError: A column to slice by is missing or holds lists.
    """
    features = {f.column for f in config.schema_.features if f.kind in ("categorical", "numeric")}
    for log in sources.logs.values() if config.evaluation.slices else ():
        single = {field.name for field in log.schema() if not pa.types.is_nested(field.type)}
        for name in config.evaluation.slices:
            if name not in single | features:
                raise ConfigError(
                    f"there is no column {name!r} of single values to slice by",
                    where="evaluation.slices",
                    hint=suggest(name, single | features),
                )


def _temporary_folder(stack: ExitStack) -> Path:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "several processes train into one folder, and none is given",
            hint="Give `run_dir`, the same in every process.",
        )
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyrank-")))


def _bundle(
    config: RunConfig,
    sources: Sources,
    prepared: Prepared,
    result: TrainResult,
    descent: Mapping[str, Any],
) -> Bundle:
    return Bundle(
        schema=config.schema_,
        encoders=prepared.encoders,
        model=result.model,
        model_config=config.model,
        tables=prepared.tables,
        card=_card(config, sources, prepared, result, descent),
    )


def _finished(bundle: Bundle, folder: Path | None, *stages: Callable[[Bundle], Bundle]) -> Bundle:
    """The bundle after all stages, saved; if one fails, saved as the one before left it."""
    try:
        for stage in stages:
            bundle = stage(bundle)
    except PolyrankError as error:
        if folder is not None:
            error.hint = " ".join(text for text in (error.hint, _SAFE) if text)
        raise
    finally:
        if folder is not None:
            version = save_bundle(bundle, folder, replace=True)
            bundle = replace(bundle, version=version)
    return bundle


def _evaluated(
    bundle: Bundle,
    config: RunConfig,
    sources: Sources,
    parts: Sequence[str],
    watcher: Watcher,
    parent: Bundle | None,
) -> Bundle:
    """The bundle with metrics of ``parts`` in its card, and beside those of its parent."""
    metrics = {}
    for part in parts:
        watcher.stage(f"evaluate {part}", bundle.card.data[part].rows)
        sample = Thinned(MOST_ROWS)
        metrics[part] = _evaluate(bundle, config, sources, part, sample).to_json()
        if part == HELD_OUT[0]:
            found = profile_rows(Scorer(bundle), sample, "the validation part")
            bundle = replace(bundle, profile=found)
    bundle = replace(bundle, card=bundle.card.model_copy(update={"metrics": metrics}))
    if parent is not None:
        watcher.stage("compare with the parent", 0)

        def rows(part: str) -> Iterator[pa.Table]:
            read = (*Scorer(bundle).segment_columns, *Scorer(parent).segment_columns)
            return rows_of(config, sources, bundle.tables, part, read)

        bundle = with_gains(bundle, parent, parts, rows, config.evaluation)
    watcher.done()
    return bundle


def _calibrated(
    bundle: Bundle,
    config: RunConfig,
    sources: Sources,
    watcher: Watcher,
    parent: Bundle | None,
) -> Bundle:
    """Calibrated on the validation part; what a frozen parent predicts stays."""
    watcher.stage("calibrate", bundle.card.data[HELD_OUT[0]].rows)
    kept: dict[str, Curve | None] = {}
    if parent is not None and config.training.freeze is not None:
        kept = {task: parent.calibration.get(task) for task in parent.schema.task_names}
    columns = columns_of(bundle, config.calibration, kept)
    return calibrated(
        bundle,
        rows_of(config, sources, bundle.tables, HELD_OUT[0], columns),
        config.calibration,
        on="the validation part",
        report=config.evaluation,
        kept=kept,
    )


def _evaluate(
    bundle: Bundle, config: RunConfig, sources: Sources, part: str, sample: Thinned
) -> Evaluation:
    """A part of the run's own log, read anew and scored as any table would be."""
    scorer = Scorer(bundle)
    chunks = rows_of(config, sources, bundle.tables, part, scorer.segment_columns)
    return evaluate_rows(scorer, sample.watch(chunks), config.evaluation)


def rows_of(
    config: RunConfig,
    sources: Sources,
    tables: Mapping[str, pa.Table],
    part: str,
    columns: Sequence[str] = (),
) -> Iterator[pa.Table]:
    """The rows of a part, with ``columns`` and those it is reported by."""
    columns = (*config.evaluation.slices, *columns)
    reader = reader_of(config, sources, tables, part, extra=tuple(dict.fromkeys(columns)))
    return reader.chunks(part if WHOLE in sources.logs else "all")  # type: ignore[arg-type]


def reader_of(
    config: RunConfig, sources: Sources, tables: Any, part: str, *, extra: tuple[str, ...] = ()
) -> Reader:
    """A reader of the log that holds ``part``, as the run reads it."""
    whole = WHOLE in sources.logs
    return Reader(
        sources.logs[WHOLE if whole else part],
        config.schema_,
        tables=tables,
        split=config.data.split if whole else None,
        quarantine=Quarantine(max_share=config.data.max_quarantine_share),
        extra=extra,
    )


def _card(
    config: RunConfig,
    sources: Sources,
    prepared: Prepared,
    result: TrainResult,
    descent: Mapping[str, Any],
) -> Card:
    ledger = prepared.ledger
    return Card(
        tasks=describe_tasks(config.schema_, config.model.seen_tasks),
        data={
            part: DataDates(rows=span.rows, first=span.first, last=span.last)
            for part in ("train", *HELD_OUT)
            if (span := prepared.data_dates.get(part)) is not None
        },
        ledger={
            "read": ledger.read,
            "used": ledger.used,
            "masked": ledger.masked,
            "quarantined": ledger.quarantined,
            "filtered": sum(ledger.filtered.values()),
            "parts": ledger.to_dict(),
        },
        run=config.tree(),
        provenance={
            **environment(),
            **prepared.provenance,
            **fingerprints(sources.logs),
            "seed": str(config.seed),
            "best_step": str(result.best_step),
            "steps": str(result.steps),
            "stopped": result.stopped_why,
        },
        parent=dict(descent),
    )
