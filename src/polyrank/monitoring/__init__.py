"""What a log of served predictions says: drift of inputs and scores, calibration, alarms."""

from polyrank.monitoring.labels import join_labels

__all__ = ["join_labels"]
