"""The training part by request, beside the part in the order of the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from polyrank.data import EncodedLog
from polyrank.errors import ArtefactError, ConfigError
from polyrank.training.prepared import Prepared
from polyrank.training.processes import Processes

FOLDER = "train-by-request"
"""In the cache."""


def with_whole_requests(
    prepared: Prepared, cache: Path, processes: Processes, *, max_bytes: int
) -> Prepared:
    """The same, with a training part in which no request is cut: opened, or written once.

    Args:
        prepared: The log as it was encoded.
        cache: Its folder.
        processes: The first one writes while the others wait.
        max_bytes: Of all encoded logs in the cache.

    Raises:
        ConfigError: The cache would be too large.
        ArtefactError: What was written vanished.
        StorageError: The disk refused.
        DistributedError: The first process is gone.
    """
    fingerprint = f"{prepared.fingerprint} train by request"
    layout = prepared.encoders.layout

    def opened() -> EncodedLog | None:
        return EncodedLog.open(cache / FOLDER, fingerprint, layout)

    made: list[EncodedLog] = []

    def make() -> None:
        made.append(opened() or _written(prepared.train, cache, fingerprint, max_bytes))

    processes.first_does(make)
    train = made[0] if made else opened()
    if train is None:
        raise ArtefactError(
            "the training part by request vanished", where=cache.name, hint="Start again."
        )
    return replace(prepared, train=train)


def _written(train: EncodedLog, cache: Path, fingerprint: str, max_bytes: int) -> EncodedLog:
    others = (path for path in cache.glob("*/rows-*.bin") if path.parent.name != FOLDER)
    room = max(1, max_bytes - sum(path.stat().st_size for path in others))
    try:
        return train.by_request(cache / FOLDER, fingerprint=fingerprint, max_bytes=room)
    except ConfigError as error:
        raise ConfigError(
            f"the cache is full: {error.message}",
            where="data.cache_max_bytes",
            hint="Raise it: with `model.lists` the training part is kept twice, the second time by "
            "request.",
        ) from error
