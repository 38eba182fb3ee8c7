"""Opening what another process prepared."""

from __future__ import annotations

from pathlib import Path

from polyrank.config import RunConfig
from polyrank.training.distributed import choose_device, join_processes
from polyrank.training.prepare import _Preparation, _silent
from polyrank.training.prepared import Prepared
from polyrank.training.sources import Sources
from polyrank.training.whole_requests import with_whole_requests


def reopen(config: RunConfig, cache: Path) -> Prepared:
    """What ``prepare`` left in ``cache``, for another process that works beside the first.

    Neither the log nor a side table is read, so ``tables`` is empty.

    Args:
        config: The run, or another of the same encoded log.
        cache: Its folder of encoded logs.

    Raises:
        ArtefactError: It is not there whole.
    """
    inside = config.data.model_copy(update={"cache": str(cache.absolute())})
    config = config.model_copy(update={"data": inside})
    work = _Preparation(config, Sources(logs={}), cache, _silent)
    work._tables = {}
    prepared = work.open()
    if not config.model.lists:
        return prepared
    processes = join_processes(choose_device(config.training.device))
    room = config.data.cache_max_bytes
    return with_whole_requests(prepared, work.cache, processes, max_bytes=room)
