"""The log of a run in other people's tools; each is an observer and needs its own package.

>>> from polyrank.config import TrackingConfig
>>> from pathlib import Path
>>> open_trackers(TrackingConfig(), Path("runs/ranker"), name="ranker")
[]
"""

from __future__ import annotations

from pathlib import Path

from polyrank.config import TrackingConfig
from polyrank.training.records import Observer
from polyrank.training.tracking.mlflow import MLflowTracker
from polyrank.training.tracking.tensorboard import TensorBoardTracker


def open_trackers(config: TrackingConfig, run_dir: Path, *, name: str) -> list[Observer]:
    """The observers that the configuration asks for.

    Args:
        config: Which ones.
        run_dir: TensorBoard's files go into its folder ``tensorboard``.
        name: Of the run, for MLflow.

    Raises:
        ConfigError: A package is not installed.
    """
    trackers: list[Observer] = []
    if config.tensorboard:
        trackers.append(TensorBoardTracker(run_dir / "tensorboard"))
    if config.mlflow is not None:
        trackers.append(MLflowTracker(config.mlflow, name))
    return trackers


__all__ = ["MLflowTracker", "TensorBoardTracker", "open_trackers"]
