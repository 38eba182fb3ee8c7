"""What the labels of a log mean where it is not the kind of log that the model was trained on."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection

from polyrank.bundle import Bundle
from polyrank.schema import Binary, Maturity, Schema, Task, parse
from polyrank.scoring.scorer import Scorer

SERVED = "served_request"
"""The column by which a log of what was served is known: the server's id of the request."""


def labelled(
    scorer: Scorer, given: Collection[str], observed_until: int | str | None = None
) -> Scorer:
    """The same scorer, with the bundle's schema as it holds of another log.

    A log of what was served was not down-sampled, so no negative stands for others, whatever the
    ``keep_rate`` of the log that the model was trained on.

    Args:
        scorer: Predicts as before.
        given: The log's columns; it was served where ``SERVED`` is among them.
        observed_until: When late labels were looked at, as in ``Maturity``; null: when the training
            log was cut.

    Raises:
        ConfigError: As ``cut_at``.
    """
    bundle = scorer.bundle
    schema = cut_at(bundle.schema, observed_until)
    if SERVED in given:
        schema = schema.model_copy(update={"tasks": tuple(map(_whole, schema.tasks))})
    found = copy.copy(scorer)
    found.bundle = _with_schema(bundle, schema)
    return found


def cut_at(schema: Schema, observed_until: int | str | None) -> Schema:
    """The schema whose late labels are known until then, and not until its training log was cut.

    Raises:
        ConfigError: It is not of the kind of the windows.
    """
    if observed_until is None:
        return schema
    tasks = []
    for task in schema.tasks:
        if isinstance(task, Binary) and task.maturity is not None:
            told = {**task.maturity.model_dump(), "observed_until": observed_until}
            task = task.model_copy(update={"maturity": parse(Maturity, told, where=task.name)})
        tasks.append(task)
    return schema.model_copy(update={"tasks": tuple(tasks)})


def _whole(task: Task) -> Task:
    return task.model_copy(update={"keep_rate": 1.0}) if isinstance(task, Binary) else task


def _with_schema(bundle: Bundle, schema: Schema) -> Bundle:
    encoders = copy.copy(bundle.encoders)
    encoders.schema = schema
    return dataclasses.replace(bundle, schema=schema, encoders=encoders)
