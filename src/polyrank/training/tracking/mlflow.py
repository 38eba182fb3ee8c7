"""MLflow: metrics of a run on a tracking server or in a folder."""

from __future__ import annotations

from polyrank.errors import ConfigError
from polyrank.training.records import NoticeRecord, Record, RunPlan
from polyrank.training.tracking.scalars import scalars


class MLflowTracker:
    """Logs each record's numbers as metrics of one MLflow run.

    Args:
        address: Tracking address or folder.
        name: Of the run.

    Raises:
        ConfigError: MLflow is not installed.
    """

    def __init__(self, address: str, name: str) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ConfigError(
                "MLflow is not installed",
                where="tracking.mlflow",
                hint="pip install mlflow-skinny, or set it to null.",
            ) from error
        self._client = MlflowClient(tracking_uri=address)
        self._name = name

    def begin(self, plan: RunPlan) -> None:
        """Starts the run and logs what is known of it."""
        run = self._client.create_run(experiment_id="0", run_name=self._name)
        self._run = run.info.run_id
        for key in ("device", "precision", "world", "rows_per_epoch", "start_step"):
            self._client.log_param(self._run, key, getattr(plan, key))

    def advance(self, step: int, rows: int) -> None:
        """Nothing: only records are logged."""

    def record(self, record: Record) -> None:
        """One metric a number, notices as tags."""
        if isinstance(record, NoticeRecord):
            self._client.set_tag(self._run, f"notice.{record.step}", record.message)
        for name, value in scalars(record).items():
            self._client.log_metric(self._run, name, value, step=record.step)

    def close(self) -> None:
        """Marks the run as ended."""
        self._client.set_terminated(self._run)
