"""One run from its prepared log to the network with the best weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from polyrank.config import RunConfig
from polyrank.storage import RunLock, check_writable
from polyrank.training.distributed import choose_device, join_processes
from polyrank.training.extension import Parent
from polyrank.training.malloc import tune_allocator
from polyrank.training.prepared import Prepared
from polyrank.training.probe import Probe
from polyrank.training.records import Observer
from polyrank.training.session import Resume, Session, TrainResult
from polyrank.training.signals import StopRequest


def train(
    config: RunConfig,
    prepared: Prepared,
    run_dir: Path,
    *,
    resume: Resume = "never",
    observer: Observer | None = None,
    parent: Parent | None = None,
    probe: Probe | None = None,
) -> TrainResult:
    """Train the network that ``config`` describes.

    Under ``torchrun`` every process calls this with the same arguments. Torch's generators are
    left as they were.

    Args:
        config: The run.
        prepared: Its log, encoded.
        run_dir: Its folder: checkpoints, best weights and log.
        resume: ``never`` begins a new run and refuses a folder that holds one; ``auto`` goes on
            from the newest checkpoint that is intact, or begins; ``strict`` refuses a damaged or
            missing one.
        observer: Watches the run.
        parent: The model that it starts from; ``config`` and ``prepared`` extend it.
        probe: Looks at the network before steps; what it finds is in the log of the run. The bits
            of the run are the same with it and without.

    Raises:
        ConfigError: The folder holds another run or another trainer; what resumes was changed; a
            setting does not fit the log or the machine.
        DataError: The score asks for what is undefined on the validation split.
        ArtefactError: No checkpoint is intact.
        DivergedError: A loss, a gradient or a weight is not finite.
        StorageError: The disk refused.
        DistributedError: Another process is gone.
        InterruptedRun: A signal came; a checkpoint was made.
    """
    tune_allocator()
    device = choose_device(config.training.device)
    processes = join_processes(device)
    with ExitStack() as stack:
        stack.enter_context(_threads(config.training.threads))
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        notices = processes.first_does(lambda: _take(run_dir, stack))
        session = Session(
            config,
            prepared,
            run_dir,
            device=device,
            processes=processes,
            observer=observer,
            parent=parent,
            probe=probe,
        )
        session.notices += notices
        stop = stack.enter_context(StopRequest())
        trainer = session.trainer(session.load(resume), stop, stack)
        trainer.run()
        return session.result(trainer)


def _take(run_dir: Path, stack: ExitStack) -> list[str]:
    """Only this process trains into the folder, which can be written to; what to say about it."""
    check_writable(run_dir)
    return stack.enter_context(RunLock(run_dir)).notices


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
