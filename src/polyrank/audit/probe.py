"""Looks at a run of all tasks every n-th step: gradients at a shared layer, and affinity."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyrank.audit.affinity import Affinity, Rule, affinity_of, look_ahead
from polyrank.audit.gradients import (
    GradientEvidence,
    gradients_of,
    last_layer,
    look_at_gradients,
)
from polyrank.audit.scene import Scene, SharedParameter, shared_parameters, unseen
from polyrank.data import Batch
from polyrank.errors import ConfigError
from polyrank.training.journal import LOG
from polyrank.training.step import Stepper

EVERY = 10
"""Steps between two looks, as in the authors' code of TAG."""


class EvidenceProbe:
    """For ``train(..., probe=EvidenceProbe())``: what it finds is in the log of the run, so that a
    run that is cut off and resumed loses nothing, and ``run_evidence`` reads it there.

    A look costs about as much as 1 + T steps of T tasks. The first one comes at step ``every``, so
    that the optimizers have moments. It sees the loss of each task without its weight.

    Args:
        every: Steps between two looks.
        rule: How far a task's step goes; see ``affinity``. Null: affinity is not measured.

    Raises:
        ConfigError: ``every`` below 1.
    """

    def __init__(self, every: int = EVERY, rule: Rule | None = "optimizer") -> None:
        if every < 1:
            raise ConfigError(
                f"`every` must be at least 1, got {every}",
                hint="Give the number of steps between two looks.",
            )
        self._every, self._rule = every, rule
        self._of: Stepper | None = None
        self._shared: list[SharedParameter] = []
        self._layer: list[SharedParameter] = []

    def look(
        self, stepper: Stepper, step: int, batch: Batch, denominators: Mapping[str, float]
    ) -> Mapping[str, Any] | None:
        """As ``Probe.look``; nothing where nothing that tasks share moves."""
        if (step + 1) % self._every or stepper.frozen is not None:
            return None
        scene = Scene(
            stepper=stepper,
            step=step,
            batch=batch.to(stepper.device),
            denominators=denominators,
        )
        with unseen(stepper):
            self._settle(scene)
            return self._found(scene) if self._shared else None

    def _settle(self, scene: Scene) -> None:
        """Once a run: what is shared, and the last layer of it."""
        if self._of is not scene.stepper:
            self._of = scene.stepper
            self._shared = shared_parameters(scene.stepper)
            self._layer = last_layer(scene, self._shared)

    def _found(self, scene: Scene) -> dict[str, Any]:
        balance = scene.stepper.balance
        writers = [task for task in balance.method.tasks if task not in balance.readers]
        found: dict[str, Any] = {}
        if self._layer:
            found["layer"] = look_at_gradients(scene, self._layer, writers)
        if self._rule is not None:
            found["rule"] = self._rule
            found["affinity"] = look_ahead(scene, self._shared, writers, self._rule)
        return found


def read_log(run_dir: Path) -> list[dict[str, Any]]:
    """The records of a run's log."""
    lines = (run_dir / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def run_evidence(
    tasks: Sequence[str], records: Iterable[Mapping[str, Any]]
) -> tuple[Affinity, GradientEvidence]:
    """What a run's log says of affinity and gradients; with the reason where it says nothing.

    Args:
        tasks: Of the schema, in order.
        records: The log, in order; see ``read_log``.
    """
    known = list(records)
    log = [record for record in known if record["kind"] == "train"]
    probes = [record for record in known if record["kind"] == "probe"]
    ahead = [record["found"] for record in probes if "affinity" in record["found"]]
    affinity = affinity_of(
        tasks,
        [found["affinity"] for found in ahead],
        rule=ahead[-1]["rule"] if ahead else "optimizer",
        seconds=_seconds(probes),
        total=_seconds(log),
    )
    layers = [record for record in probes if "layer" in record["found"]]
    return affinity, gradients_of(tasks, log, layers)


def _seconds(records: Sequence[Mapping[str, Any]]) -> float | None:
    """Together; None where one does not say."""
    found = [record.get("timing", {}).get("seconds") for record in records]
    return None if None in found else sum(found)
