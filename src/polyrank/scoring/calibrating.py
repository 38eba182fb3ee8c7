"""Fitting the calibration of a bundle on labelled rows.

Shapes: N rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.bundle import Bundle
from polyrank.calibration import Calibrator, Curve, IdentityCurve, fit_guarded
from polyrank.config import CalibrationConfig, EvaluationConfig
from polyrank.data import open_log
from polyrank.errors import counted
from polyrank.evaluation import Observations, compare
from polyrank.schema import Binary, parse
from polyrank.scoring.evaluation import observe, only
from polyrank.scoring.held_out import split_of
from polyrank.scoring.labels import labelled
from polyrank.scoring.scorer import Scorer
from polyrank.scoring.shown import shown

METRICS = ("ece", "ratio", "log_loss", "ne")
"""What calibration is there to change."""


def calibrated(
    bundle: Bundle,
    chunks: Iterator[pa.Table],
    config: CalibrationConfig,
    *,
    on: str,
    report: EvaluationConfig,
    kept: Mapping[str, Curve | None] | None = None,
    labels: Bundle | None = None,
) -> Bundle:
    """The bundle with a calibration fitted anew, told in its card.

    Each binary task is fitted inside its sample space, on observed rows, negatives weighing
    1 / keep rate. A method that does not lower the log loss on rows it was not fitted on leaves the
    task as it was predicted. The card's differences are on the rows of the fit.

    Args:
        bundle: The model; its own calibration is left out.
        chunks: Labelled rows as a ``Reader`` gives them, with the columns of ``columns_of``.
        config: The methods.
        on: Which rows these are, in words.
        report: Bootstrap draws, and the most rows that are held in memory: the first ones count.
        kept: Curves, or none, of tasks that are not fitted: what they predict stays.
        labels: The bundle with the schema as it holds of these rows' labels; null: ``bundle``.
    """
    kept = dict(kept or {})
    columns = columns_of(bundle, config, kept)
    raw = Scorer(dataclasses.replace(labels or bundle, calibration={}))
    before = _held(observe(raw, chunks, columns), report.exact_rows)
    curves, told, after = {}, {}, dict(before.predictions)
    for name in calibratable(bundle):
        method, curve = config.of(name), kept.get(name)
        if name in kept:
            kind = "no curve" if curve is None else curve.kind
            told[name] = f"{kind}, as in the parent, whose predictions stay"
        elif name in bundle.model_config.seen_tasks:
            told[name] = "none: what its bias model leads to is P(label | seen), which no row shows"
        elif method is not None:
            curve, told[name] = _fit(before, name, method)
            if curve is None and (own := bundle.calibration.get(name)) is not None:
                told[name] += f"; the {own.kind} it had is left out"
        if curve is not None:
            curves[name] = curve
            after[name] = curve(before.predictions[name], before.slices.get(curve.segment_by or ""))
    profile = bundle.profile
    if profile is not None:
        others = {t for t in after if curves.get(t) != bundle.calibration.get(t)}
        profile = profile.without_predictions(others)
    return dataclasses.replace(
        bundle,
        calibration=curves,
        profile=profile,
        card=bundle.card.model_copy(
            update={"calibration": _told(bundle, before, after, told, list(curves), on, report)}
        ),
    )


def columns_of(
    bundle: Bundle, config: CalibrationConfig, kept: Mapping[str, Curve | None]
) -> tuple[str, ...]:
    """What ``calibrated`` reads of a row beside predictions and labels."""
    staying = (curve.segment_by for curve in kept.values() if curve is not None)
    wanted = (*config.columns(bundle.schema), *(name for name in staying if name is not None))
    return tuple(dict.fromkeys(wanted))


def calibratable(bundle: Bundle) -> tuple[str, ...]:
    """The tasks that predict a probability."""
    return tuple(task.name for task in bundle.schema.tasks if isinstance(task, Binary))


def _fit(rows: Observations, task: str, method: Calibrator) -> tuple[Curve | None, str]:
    """The curve, if one is worth it, and the decision in words."""
    weight_N = rows.weights_of(task)
    ones_N = np.ones(rows.num_rows) if weight_N is None else weight_N
    curve, verdict = fit_guarded(
        method,
        rows.predictions[task],
        rows.labels[task],
        np.where(rows.masks[task], ones_N, 0.0),
        rows.slices.get(method.segment_by or ""),
    )
    return None if isinstance(curve, IdentityCurve) else curve, verdict.sentence


def _held(parts: Iterator[Observations], most_rows: int) -> Observations:
    """The parts together, no further than ``most_rows``."""
    held: list[Observations] = []
    for part in parts:
        held.append(part)
        if sum(each.num_rows for each in held) >= most_rows:
            break
    return Observations.concatenate(held)


def _told(
    bundle: Bundle,
    before: Observations,
    after: Mapping[str, NDArray[np.float64]],
    told: Mapping[str, str],
    changed: Sequence[str],
    on: str,
    report: EvaluationConfig,
) -> dict[str, Any]:
    """What the card says."""
    comparison = None
    if changed:
        tasks = [bundle.schema.task(name) for name in changed]
        comparison = compare(
            only(before, changed),
            only(dataclasses.replace(before, predictions=after), changed),
            tasks,
            metrics=METRICS,
            resamples=report.resamples,
        ).to_json()
    rows = counted(before.num_rows, "row")
    return {"on": f"the {rows} of {on}", "tasks": dict(told), "comparison": comparison}


def calibration_config(bundle: Bundle, method: str | None, by: str | None) -> CalibrationConfig:
    """The methods of the bundle's run, or others instead.

    Args:
        bundle: Its card has the run.
        method: Kind of a method for every binary task; null: those of the run.
        by: A column whose values are segments; null: none but those of the run.

    Raises:
        ConfigError: No such method.
    """
    tree = bundle.card.run.get("calibration", {})
    if method is not None:
        tree = {"method": {"kind": method}}
    if by is not None:
        plain = tree.get("method") or {"kind": "platt"}
        plain = plain.get("method", plain) if plain["kind"] == "segmented" else plain
        tree = {"method": {"kind": "segmented", "by": by, "method": plain}}
    return parse(CalibrationConfig, tree, where="calibration")


def calibrate_on(
    scorer: Scorer,
    log: Any,
    config: CalibrationConfig,
    *,
    part: str = "all",
    max_quarantine_share: float | None = None,
    report: EvaluationConfig | None = None,
    observed_until: int | str | None = None,
) -> Bundle:
    """The scorer's bundle with a calibration fitted on ``log``; see ``calibrated``.

    Args:
        scorer: Of the bundle, with the side tables to use.
        log: A path, glob, folder or Arrow-compatible table, with labels; of what was served, the
            rows that were shown (``shown``).
        config: The methods.
        part: The part of the log by the split of the bundle's run; "all": every row.
        max_quarantine_share: Share of rows that may be refused and left out; null: as in its run.
        report: Draws and most rows; null: the default.
        observed_until: When late labels were looked at, as in ``Maturity``; null: when the training
            log was cut.

    Raises:
        DataError: The log is refused.
        ConfigError: An unknown part, a segment column that is not there, or ``observed_until`` of
            another kind than the windows.
    """
    bundle, source = scorer.bundle, shown(open_log(log))
    scorer = labelled(scorer, source.schema().names, observed_until)
    reader = scorer.reader(
        source,
        extra=columns_of(bundle, config, {}),
        labels=True,
        split=split_of(bundle, part),
        max_quarantine_share=max_quarantine_share,
    )
    told = str(log) if isinstance(log, str | Path) else "a table"
    return calibrated(
        bundle,
        reader.chunks(part),  # type: ignore[arg-type]  # ``split_of`` knows the parts
        config,
        on=told if part == "all" else f"the {part} part of {told}",
        report=report or EvaluationConfig(),
        labels=scorer.bundle,
    )
