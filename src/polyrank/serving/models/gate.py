"""The gate: a version is tried in a process of its own, then here, and only then may serve."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyrank.errors import ArtefactError, DataError, PolyrankError
from polyrank.scoring import Order
from polyrank.serving.models.checks import check_compatible, check_context, check_parity
from polyrank.serving.models.drift import check_drift, drift
from polyrank.serving.models.engine import EngineOf, eager, reference_of
from polyrank.serving.models.gate_process import GateProcess
from polyrank.serving.models.rows import Predictions, label_of, predicted
from polyrank.serving.models.served import DEFAULT, Served, engine_name
from polyrank.serving.models.settings import GateSettings
from polyrank.serving.models.sources import Found
from polyrank.serving.models.trial import Tried, try_bundle


@dataclass(frozen=True, kw_only=True, eq=False)
class Admitted:
    """A version that may serve."""

    served: Served
    """By the bundle's own value model only."""
    predictions: Predictions
    """For ``served.rows``."""
    files: str
    """As in ``Found``: where they change, it is tried again."""
    report: Mapping[str, Any]
    """What was found, as JSON values."""


class Gate:
    """Lets versions in.

    Args:
        settings: What they have to pass.
        engine_of: Makes the engine, in both processes.
        process: Tries them, if several gates share one; whoever gives it closes it.
    """

    def __init__(
        self,
        settings: GateSettings,
        engine_of: EngineOf = eager,
        process: GateProcess | None = None,
    ) -> None:
        self._settings = settings
        self._engine_of = engine_of
        self._reference = reference_of(engine_of)
        self._shared = process is not None
        self._process = process or GateProcess()

    def start(self) -> None:
        """Warm the process up, without waiting for it."""
        self._process.start()

    def close(self) -> None:
        """End the process, unless it is shared."""
        if not self._shared:
            self._process.close()

    def admit(self, model: str, found: Found, records: Path, before: Served | None) -> Admitted:
        """Try a version; it takes no lock, and nothing that serves is touched.

        Args:
            model: The name it will serve under.
            found: Where it lies.
            records: The folder of recorded rows.
            before: The version in service.

        Raises:
            PolyrankError: Why it may not serve.
        """
        began = time.monotonic()
        record = _record(records, found, before)
        answer: Mapping[str, Any] | None = None
        if before is not None or self._settings.first_too:
            answer = self._apart(found, record)
        tried = try_bundle(found.path, self._engine_of, record)
        if answer is not None:
            _check_same(tried, answer)
        self._check_recorded(tried, records)
        report: dict[str, Any] = {
            "rows": "made" if record is None else "recorded",
            "engine": engine_name(tried.engine),
        }
        if before is not None:
            check_compatible(tried.bundle.schema, before.bundle.schema, self._settings)
            check_context(tried.scorer, before, self._settings)
            report["drift"] = self._drift(tried, before)
        report["seconds"] = round(time.monotonic() - began, 3)
        return Admitted(
            served=_served(model, found, tried),
            predictions=tried.predictions,
            files=found.files,
            report=report,
        )

    def _apart(self, found: Found, record: Path | None) -> Mapping[str, Any]:
        """What a process of its own says of it.

        Raises:
            ArtefactError: It is refused there.
        """
        answer = self._process.ask(
            {
                "path": str(found.path),
                "record": None if record is None else str(record),
                "engine": self._reference,
                "threads": torch.get_num_threads(),
                "nice": self._settings.nice,
                "deadline": self._settings.deadline,
                "memory_mib": self._settings.memory_mib,
                "cpu_seconds": self._settings.cpu_seconds,
            }
        )
        if answer["kind"] == "refused":
            raise ArtefactError(answer["reason"])
        return answer

    def _check_recorded(self, tried: Tried, records: Path) -> None:
        path = records / label_of(tried.bundle.version)
        if self._settings.require_recorded and not path.is_dir():
            raise ArtefactError(
                "no predictions of this version were recorded",
                where="trial",
                hint="Record them with the bundle: record_rows(bundle, table, folder).",
            )

    def _drift(self, tried: Tried, before: Served) -> dict[str, Any] | str:
        """By task; a sentence where the version in service cannot read the rows."""
        try:
            past = predicted(before.scorer, tried.rows)
        except (DataError, PolyrankError) as error:
            return f"not measured: {error}"
        finite = {task: value_N for task, value_N in past.items() if np.isfinite(value_N).all()}
        check_drift(tried.predictions, finite, self._settings.least_rank_correlation)
        return drift(tried.predictions, finite)


def _record(records: Path, found: Found, before: Served | None) -> Path | None:
    """The rows to try a version on: recorded with it, or with the one in service, or none."""
    labels = [label_of(found.content), *([label_of(before.content)] if before else [])]
    for label in labels:
        path = records / label
        if path.is_dir():
            return path
    return None


def _check_same(tried: Tried, answer: Mapping[str, Any]) -> None:
    """Refuse what is not what was tried in the process of its own."""
    if tried.bundle.version != answer["content"]:
        raise ArtefactError(
            "was changed after it was tried", hint="Replace a bundle by a rename, as saving does."
        )
    other = {task: np.asarray(values) for task, values in answer["predictions"].items()}
    check_parity(
        tried.predictions,
        other,
        same_bits=engine_name(tried.engine) == answer["engine"],
        what="the process that tried it",
    )


def _served(model: str, found: Found, tried: Tried) -> Served:
    return Served(
        model=model,
        version=found.name or label_of(tried.bundle.version),
        scorer=tried.scorer,
        engine=tried.engine,
        profiles={DEFAULT: Order.of(tried.bundle)},
        values={DEFAULT: 0},
        rows=tried.rows,
        loaded_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
