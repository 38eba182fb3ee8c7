"""Policies rank, simulated users answer, and come back the next day or not."""

from polyrank.simulation.experiment.config import ExperimentConfig, ReturnConfig

__all__ = ["ExperimentConfig", "ReturnConfig"]
