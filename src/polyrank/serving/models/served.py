"""What one request answers from.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from polyrank.bundle import Bundle
from polyrank.scoring import Engine, Order, Scorer
from polyrank.serving.errors import RequestError

DEFAULT = "default"
"""The profile of a request that names none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """One version of a model, whole: a request takes one and answers from it alone."""

    model: str
    """The name under which it is served."""
    version: str
    """Its label: the folder's name among versions, else the first 12 digits of the content."""
    scorer: Scorer
    engine: Engine
    """The one that the scorer computes by."""
    profiles: Mapping[str, Order]
    """By name what candidates are ordered by; ``default`` is always among them."""
    values: Mapping[str, int]
    """By profile the number of its value model; 0: the bundle's own."""
    unfit: Mapping[str, str] = field(default_factory=dict)
    """By profile why its value model does not fit this bundle, so that the default orders."""
    rows: pa.Table
    """The rows that it was tried on before it served."""
    loaded_at: str
    """ISO 8601 in UTC."""

    @property
    def bundle(self) -> Bundle:
        """Weights, encoders, calibration and card."""
        return self.scorer.bundle

    @property
    def content(self) -> str:
        """The SHA-256 of the bundle's content."""
        return self.bundle.version

    def order(self, profile: str = DEFAULT) -> Order:
        """What orders the candidates of a request.

        Raises:
            RequestError: 400, there is no such profile.
        """
        found = self.profiles.get(profile)
        if found is None:
            known = ", ".join(sorted(self.profiles))
            raise RequestError(400, f"there is no profile {profile[:64]!a}; known: {known}")
        return found

    def with_profiles(
        self, profiles: Mapping[str, Order], values: Mapping[str, int], unfit: Mapping[str, str]
    ) -> Served:
        """The same scorer under other value models."""
        return replace(self, profiles=profiles, values=values, unfit=unfit)

    def described(self) -> dict[str, Any]:
        """What a client may know of it, as JSON values."""
        return {
            "version": self.version,
            "content": self.content,
            "loaded_at": self.loaded_at,
            "engine": engine_name(self.engine),
            "tasks": dict(self.bundle.card.tasks),
            "profiles": {
                name: {"number": self.values[name], **_told(order), **_why(self.unfit.get(name))}
                for name, order in sorted(self.profiles.items())
            },
        }


def engine_name(engine: Engine) -> str:
    """``eager/fp32``, for one."""
    name = getattr(engine, "name", type(engine).__name__)
    return f"{name}/{getattr(engine, 'precision', 'fp32')}"


def _told(order: Order) -> dict[str, Any]:
    if order.model is None:
        return {"weights": dict(order.weights)}
    told = {"value_model": order.model.model_dump(mode="json", exclude_none=True)}
    if order.demotion is not None:
        told["value_model"]["demotion"] = order.demotion.model_dump(mode="json")
    return told


def _why(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"unfit": reason}
