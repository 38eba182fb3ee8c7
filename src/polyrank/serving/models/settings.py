"""How versions are let in, and which value models may be set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from polyrank.schema import Declared, Faults
from polyrank.schema.model import Name

MIB = 1 << 20


class GateSettings(Declared):
    """What a new version has to pass, in a process of its own, before it may serve."""

    deadline: PositiveFloat = 60.0
    """Seconds to verify, load and try it; then its process is killed."""
    cpu_seconds: PositiveInt = 120
    """Processor time that it may take for that."""
    memory_mib: Annotated[int, Field(ge=64)] = 8192
    """Memory it may take beyond what the libraries take."""
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    """How much its process gives way to others, answers above all."""
    may_lose: tuple[Name, ...] = ()
    """Tasks of the version in service that a new one need not have."""
    may_read_more: bool = False
    """Whether it may read columns that the version in service does not read: by its features, its
    value model or its calibration."""
    least_rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Of every task's predictions with those of the version in service, on the rows it is tried
    on; null: it is told, and nothing is refused for it."""
    require_recorded: bool = False
    """Refuse a version without recorded predictions of its own (``record_rows``)."""
    first_too: bool = False
    """Try the first version of a model in a process of its own, too: it costs seconds at the start
    and there is none in service that it could hurt."""


class Bounds(Declared):
    """From ``min`` to ``max``; null: no bound."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Bounds:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise Faults([("min", f"must be at most `max`, {self.max:g}, got {self.min:g}")])
        return self


class ValueRules(Declared):
    """Which value models may be set while serving."""

    kinds: tuple[str, ...] = (
        "weighted_sum",
        "product",
        "rank_ensemble",
        "linear",
        "by_context",
    )
    """Of the model and of all it holds. Not ``expression`` unless named: the numbers within a
    formula have no names, and so no bounds."""
    bounds: dict[str, Bounds] = {}
    """By key path, such as ``terms.click.weight``, ``terms.*.power`` or ``demotion.decay``: what
    a number may be. ``*`` is any one key; a path means every place that ends in it, and every
    bound that means a place holds."""
    max_profiles: PositiveInt = 64
    """Names of profiles there may be."""


class CatalogSettings(Declared):
    """How models are kept."""

    gate: GateSettings = GateSettings()
    keep: PositiveInt = 2
    """How many versions of a folder of versions stay loaded."""
    rules: ValueRules = ValueRules()
    shadow_queue: NonNegativeInt = 64
    """Requests that wait to be scored by a second version; those beyond are not compared."""
