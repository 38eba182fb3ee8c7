"""All settings of a server, as one tree that a YAML file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from polyrank.schema import Declared
from polyrank.schema.model import Name
from polyrank.scoring.engines import EngineName, Precision
from polyrank.serving.exploring import AnyExploration
from polyrank.serving.features import Stores
from polyrank.serving.http import Limits
from polyrank.serving.models import CatalogSettings
from polyrank.serving.predictions import PredictionLogSettings
from polyrank.serving.ranking import MAX_CANDIDATES


class LoggedTo(PredictionLogSettings):
    """The prediction log and where it lies."""

    folder: Path


class ServeSettings(Declared):
    """What is served, and how."""

    models: dict[Name, Path] = {}
    """By name: a bundle, a link to one, or a folder of bundles."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0: any free one."""
    engine: EngineName = "auto"
    """What computes; ``auto``: ONNX Runtime where the bundle's network is ready for it on this
    machine, as it is once ``onnx`` was asked for, else eager torch."""
    precision: Precision = "fp32"
    """Less is faster, and ranks a little otherwise than the bundle was evaluated."""
    threads: PositiveInt = 1
    """Of one pass of the engine."""
    features: dict[Name, Stores] = {}
    """By model, then by side table: where features by id are; those not named are in memory."""
    max_candidates: PositiveInt = MAX_CANDIDATES
    """Of one request."""
    linger_ms: NonNegativeFloat = 0.0
    """Milliseconds for which a pass waits for more requests to share it."""
    watch_seconds: PositiveFloat = 2.0
    """Between looks for new versions."""
    predictions: LoggedTo | None = None
    """Null: answers are not logged."""
    explore: dict[Name, dict[Name, AnyExploration]] = {}
    """By model, then by profile: how rankings are drawn, for a log that tells of others; those not
    named are not drawn. What a request ranks by its own value model is not, either."""
    otlp: str | None = None
    """Where OpenTelemetry's spans go, over HTTP; null: nowhere."""
    limits: Limits = Limits()
    catalog: CatalogSettings = CatalogSettings()
