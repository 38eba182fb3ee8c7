"""Checkpoints of one run, newest first, the damaged ones set aside.

Names carry the step and no time, so a clock that jumps changes nothing. Reading needs no lock: a
checkpoint that is retired while it is being opened is recognised and the next newest one is taken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from polyrank.errors import ArtefactError, ConfigError, StorageError
from polyrank.storage.commit import FileSource, commit_directory
from polyrank.storage.disk import REAL_DISK, Disk
from polyrank.storage.failures import storage_error, storage_errors
from polyrank.storage.manifest import UnsupportedFormat
from polyrank.storage.publish import ASIDE, located
from polyrank.storage.temporary import clear_stale, hidden_sibling
from polyrank.storage.verify import Committed, open_committed

MAX_STEP = 10**10 - 1

_STEP = re.compile(rf"(?:{re.escape(ASIDE)})?step-(\d{{10}})")
_QUARANTINED = re.compile(r"\.quarantined-step-\d{10}-.*")
_ATTEMPTS = 100


class CheckpointStore:
    """The checkpoints in one directory; one process writes, any number read.

    Args:
        directory: Made by the first ``save``.
        keep: How many to keep, at least 1; older ones are removed after each ``save``.
        kind: The kind of artefact.
        format_version: The version of the layout that ``save`` writes.
        supported_versions: The versions that are read; by default the one that is written.
        disk: The operations used; tests record them.

    Attributes:
        notices: What a user should know: checkpoints set aside, old ones that could not be removed.

    Raises:
        ConfigError: ``keep`` is below 1.
        StorageError: The directory cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        keep: int = 3,
        *,
        kind: str = "checkpoint",
        format_version: int = 1,
        supported_versions: Collection[int] | None = None,
        disk: Disk = REAL_DISK,
    ) -> None:
        if keep < 1:
            raise ConfigError(
                f"`keep` must be at least 1, got {keep}", hint="keep one checkpoint or more"
            )
        self.directory = directory.absolute()
        self.notices: list[str] = []
        self._keep = keep
        self._kind = kind
        self._format_version = format_version
        self._supported = supported_versions or (format_version,)
        self._disk = disk
        with storage_errors("read the checkpoints", self.directory.name):
            if self.directory.exists():
                clear_stale(self.directory, r"step-\d{10}", disk)

    def steps(self) -> list[int]:
        """The steps there are, rising, damaged ones included."""
        return sorted({int(match[1]) for name in self._names() if (match := _STEP.fullmatch(name))})

    def save(
        self,
        step: int,
        files: Mapping[str, FileSource],
        *,
        extra: Mapping[str, object] | None = None,
    ) -> Path:
        """Commits a checkpoint, then removes those beyond ``keep``; returns when it is durable.

        Saving the newest step again replaces it. Removing an old one that fails is a notice.

        Args:
            step: From 0 to 9,999,999,999 and not before the newest there is.
            files: As for ``commit_directory``.
            extra: Any JSON object for the manifest.

        Returns:
            Its directory, named ``step-0000001234``.

        Raises:
            ConfigError: The step is out of range or before the newest one.
            StorageError: The disk refused; the checkpoints there are untouched.
        """
        self._check_step(step)
        path = self._path(step)
        commit_directory(
            path,
            files,
            kind=self._kind,
            format_version=self._format_version,
            extra=extra,
            replace=True,
            disk=self._disk,
        )
        try:
            self._retire(self.steps()[: -self._keep])
        except StorageError as error:
            self.notices.append(str(error))
        return path

    def newest(self, *, strict: bool = False) -> Committed | None:
        """Opens the newest checkpoint that verifies; None if there never was one.

        A damaged one is renamed to ``.quarantined-...``, a notice says so, and the one before it is
        tried.

        Args:
            strict: Refuse instead if the newest one is damaged.

        Raises:
            ArtefactError: All are damaged (or the newest, if ``strict``), now or earlier; or the
                newest is intact but of a format that this release does not read.
            StorageError: The disk refused to read.
        """
        damaged: set[int] = set()
        for _ in range(_ATTEMPTS):
            steps = [step for step in self.steps() if step not in damaged]
            if not steps:
                self._refuse_if_damaged(damaged)
                return None
            try:
                return self._open(steps[-1])
            except _Retired:
                continue
            except UnsupportedFormat:
                raise
            except ArtefactError as error:
                if strict:
                    raise
                damaged.add(steps[-1])
                self._quarantine(steps[-1], error)
        raise ArtefactError(
            f"no checkpoint could be opened in {_ATTEMPTS} attempts",
            where=self.directory.name,
            hint="see which other process keeps changing this directory",
        )

    def discard_after(self, step: int) -> None:
        """Removes all checkpoints later than this step, to go back and train on from it."""
        self._retire([later for later in self.steps() if later > step])

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:010d}"

    def _names(self) -> list[str]:
        with storage_errors("read the checkpoints", self.directory.name):
            if not self.directory.exists():
                return []
            return [entry.name for entry in self.directory.iterdir()]

    def _check_step(self, step: int) -> None:
        newest = max(self.steps(), default=0)
        if not newest <= step <= MAX_STEP:
            raise ConfigError(
                f"`step` must be from {newest} (the newest there is) to {MAX_STEP}, got {step}",
                where=self.directory.name,
                hint="go on from the newest checkpoint, or discard those after the step first",
            )

    def _open(self, step: int) -> Committed:
        path = located(self._path(step))
        before = _identity(path)
        try:
            if path.is_symlink():
                raise ArtefactError("is a symbolic link", where=path.name)
            return open_committed(path, kind=self._kind, supported_versions=self._supported)
        except UnsupportedFormat:
            raise
        except ArtefactError as error:
            if before is None or before != _identity(path):
                raise _Retired(path.name) from error
            raise

    def _quarantine(self, step: int, error: ArtefactError) -> None:
        target = hidden_sibling(self._path(step), "quarantined")
        notice = f"checkpoint {self._path(step).name} is damaged ({error})"
        try:
            self._disk.rename(located(self._path(step)), target)
        except OSError as failure:
            reason = storage_error("set it aside", self.directory.name, failure)
            self.notices.append(f"{notice}; {reason}")
        else:
            self.notices.append(f"{notice}; it is now {target.name}")

    def _refuse_if_damaged(self, damaged: set[int]) -> None:
        aside = sorted(name for name in self._names() if _QUARANTINED.fullmatch(name))
        if damaged or aside:
            raise ArtefactError(
                f"no checkpoint is intact; set aside: {', '.join(aside[:5]) or 'none'}",
                where=self.directory.name,
                hint="restore one from a copy, or remove the damaged ones to start afresh",
            )

    def _retire(self, steps: list[int]) -> None:
        """Renames first, durably, so that no reader sees half a checkpoint under its name."""
        retired = []
        with storage_errors("remove old checkpoints", self.directory.name):
            for step in steps:
                trash = hidden_sibling(self._path(step), "trash")
                self._disk.rename(located(self._path(step)), trash)
                retired.append(trash)
            if retired:
                self._disk.sync(self.directory)
        for trash in retired:
            self._disk.remove_tree(trash)


class _Retired(Exception):
    """The checkpoint was removed or replaced while it was being opened."""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
