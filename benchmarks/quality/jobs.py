"""Many runs side by side, each kept in a file, so that a call that was cut goes on where it was."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

Job = TypeVar("Job", bound=Hashable)


def fill(work: Callable[[Job, Path], None], files: Mapping[Job, Path], workers: int) -> None:
    """Call ``work(job, file)`` for each job whose file is missing, in so many processes.

    A file is complete once it has its name: ``work`` writes beside it and renames.
    """
    missing = {job: file for job, file in files.items() if not file.exists()}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_whole, work, job, file): file for job, file in missing.items()}
        for place, done in enumerate(as_completed(waiting), start=1):
            done.result()
            now = f"{datetime.datetime.now():%H:%M:%S}"
            print(f"{now} {place}/{len(missing)} {waiting[done].stem}", flush=True)


def _whole(work: Callable[[Job, Path], None], job: Job, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".draft-{file.name}")
    work(job, draft)
    draft.rename(file)
