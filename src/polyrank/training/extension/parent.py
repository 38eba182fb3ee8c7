"""What a run starts from."""

from __future__ import annotations

from dataclasses import dataclass

from polyrank.data import Encoders
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import Schema


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A trained model with its encoders; nothing of it is changed."""

    schema: Schema
    encoders: Encoders
    model: RankingModel
    config: ModelConfig
    version: str
    """Equal for equal parents only."""

    def added(self, schema: Schema) -> tuple[str, ...]:
        """The tasks that ``schema`` has beyond the parent's, in its order."""
        return tuple(name for name in schema.task_names if name not in self.schema.task_names)
