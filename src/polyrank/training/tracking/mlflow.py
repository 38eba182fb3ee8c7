"""MLflow: metrics of a run on a tracking server or in a folder."""

from __future__ import annotations

import warnings

from polyrank.errors import ConfigError
from polyrank.training.records import NoticeRecord, Record, RunPlan
from polyrank.training.tracking.scalars import scalars

_EXPERIMENT = "polyrank"


class MLflowTracker:
    """Logs each record's numbers as metrics of one run of the experiment ``polyrank``.

    A server that fails in the middle of a run ends the tracking with a warning, not the run.

    Args:
        address: Tracking address, or a folder where MLflow still allows one
            (``MLFLOW_ALLOW_FILE_STORE=true``).
        name: Of the run.

    Raises:
        ConfigError: MLflow is not installed.
    """

    def __init__(self, address: str, name: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise ConfigError(
                "MLflow is not installed",
                where="tracking.mlflow",
                hint="Install it (pip install mlflow-skinny), or set it to null.",
            ) from error
        self._failure = MlflowException
        self._address, self._name = address, name
        self._open = MlflowClient
        self._tracking = False

    def begin(self, plan: RunPlan) -> None:
        """Starts the run and logs what is known of it.

        Raises:
            ConfigError: MLflow refuses the address.
        """
        try:
            self._client = self._open(tracking_uri=self._address)
            run = self._client.create_run(self._experiment(), run_name=self._name)
            self._run = run.info.run_id
            for key in ("device", "precision", "world", "rows_per_epoch", "start_step"):
                self._client.log_param(self._run, key, getattr(plan, key))
        except self._failure as error:
            raise ConfigError(
                f"MLflow refuses {self._address!r}: {error}",
                where="tracking.mlflow",
                hint="Give the address of a tracking server, or set it to null.",
            ) from error
        self._tracking = True

    def advance(self, step: int, rows: int) -> None:
        """Nothing: only records are logged."""

    def record(self, record: Record) -> None:
        """One metric a number, notices as tags."""
        if not self._tracking:
            return
        try:
            if isinstance(record, NoticeRecord):
                self._client.set_tag(self._run, f"notice.{record.step}", record.message)
            for name, value in scalars(record).items():
                self._client.log_metric(self._run, name, value, step=record.step)
        except self._failure as error:
            self._give_up(error)

    def close(self) -> None:
        """Marks the run as ended."""
        if not self._tracking:
            return
        try:
            self._client.set_terminated(self._run)
        except self._failure as error:
            self._give_up(error)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        return str(found.experiment_id if found else self._client.create_experiment(_EXPERIMENT))

    def _give_up(self, error: Exception) -> None:
        self._tracking = False
        warnings.warn(f"MLflow fails, so the run is no longer tracked: {error}", stacklevel=2)
