"""Trying a bundle: loaded, warmed and judged by itself; in a process of its own, then in this one.

Shapes: N rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from polyrank.bundle import Bundle, load_bundle
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.scoring import Engine, Order, Scorer
from polyrank.serving.models.checks import check_order, check_parity, check_sound
from polyrank.serving.models.engine import EngineOf
from polyrank.serving.models.rows import (
    Predictions,
    Recorded,
    capability,
    open_rows,
    predicted,
)
from polyrank.serving.models.served import engine_name
from polyrank.serving.models.synthetic import synthetic_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """A bundle that is loaded, warm and sound."""

    scorer: Scorer
    engine: Engine
    rows: pa.Table
    """What it was tried on."""
    predictions: Predictions
    """By task (N,)."""

    @property
    def bundle(self) -> Bundle:
        """All of it is what was verified."""
        return self.scorer.bundle


def try_bundle(path: Path, engine_of: EngineOf, record: Path | None) -> Tried:
    """Load a bundle, predict rows twice, and judge what comes out.

    What is used of the files is hashed as it is read, so it is what was verified even if somebody
    changes the files meanwhile; its content names it.

    Args:
        path: Of the bundle.
        engine_of: Makes the engine.
        record: Of rows, see ``record_rows``; null: rows are made from what the encoders know.

    Raises:
        PolyrankError: The bundle, or the record, is refused.
    """
    bundle = load_bundle(path)
    engine = engine_of(bundle)
    scorer = Scorer(bundle, engine)
    recorded = None if record is None else open_rows(record)
    rows = synthetic_rows(scorer) if recorded is None else recorded.rows
    try:
        predictions = predicted(scorer, rows)
        check_sound(bundle.schema, predictions)
        check_parity(predicted(scorer, rows), predictions, same_bits=True, what="itself just now")
        if recorded is not None and recorded.content == bundle.version:
            _check_record(predictions, recorded, engine)
        check_order(Order.of(bundle), predictions)
        scorer.score(rows.slice(0, 1))
    except (ConfigError, DataError) as error:
        told = f"{error.where}: {error.message}" if error.where else error.message
        raise ArtefactError(told, where="trial", hint=error.hint) from error
    return Tried(scorer=scorer, engine=engine, rows=rows, predictions=predictions)


def _check_record(predictions: Predictions, recorded: Recorded, engine: Engine) -> None:
    same = (engine_name(engine), capability()) == (recorded.engine, recorded.capability)
    check_parity(predictions, recorded.predictions, same_bits=same, what="what was recorded")
