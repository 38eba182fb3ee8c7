"""TensorBoard: scalars in event files."""

from __future__ import annotations

from pathlib import Path

from polyrank.errors import ConfigError
from polyrank.training.records import NoticeRecord, Record, RunPlan
from polyrank.training.tracking.scalars import scalars


class TensorBoardTracker:
    """Writes event files into a folder.

    A run that resumes purges the steps after its checkpoint, so that curves do not double back.

    Args:
        folder: Made if it is missing.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "TensorBoard is not installed",
                where="tracking.tensorboard",
                hint="Install it (pip install tensorboard), or set it to false.",
            ) from error
        self._open = SummaryWriter
        self._folder = folder

    def begin(self, plan: RunPlan) -> None:
        """Opens the event file."""
        self._writer = self._open(str(self._folder), purge_step=plan.start_step + 1)

    def advance(self, step: int, rows: int) -> None:
        """Nothing: only records are written."""

    def record(self, record: Record) -> None:
        """One scalar a number, notices as text."""
        if isinstance(record, NoticeRecord):
            self._writer.add_text("notice", record.message, record.step)
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record.step)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()
