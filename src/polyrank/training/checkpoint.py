"""A run's whole state on disk, in the folder ``checkpoints``.

A checkpoint holds the network, both optimizers, the balancing weights and ``RunState``, with the
identity of the run and the best weights so far. Nobody keeps those in memory: where the network is
at its best they are the network's, else they are copied from the checkpoint before. So each new
best makes a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from polyrank.errors import ArtefactError
from polyrank.storage import CheckpointStore, FileSource, arrays_writer, jsonio
from polyrank.training.state import RunState

CHECKPOINTS = "checkpoints"

_MODEL = "model.safetensors"
_BEST = "best.safetensors"
_OPTIMIZERS = "optimizers.safetensors"
_BALANCING = "balancing.safetensors"
_STATE = "state.json"
_IDENTITY = "identity.json"
_CHUNK_BYTES = 1 << 20

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a checkpoint gives back; the arrays are its own."""

    state: RunState
    model: Arrays
    optimizers: Arrays
    balancing: Arrays


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run_dir: The run's folder.
        keep: How many stay.
        notify: Called with what a user should know.
    """

    def __init__(self, run_dir: Path, keep: int, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._store = CheckpointStore(run_dir / CHECKPOINTS, keep)
        self._newest: Path | None = None

    @property
    def last(self) -> str:
        """The newest checkpoint, for messages."""
        steps = self._store.steps()
        return f"{CHECKPOINTS}/step-{steps[-1]:010d}" if steps else "none yet"

    @property
    def empty(self) -> bool:
        """Whether there is no checkpoint, not even a damaged one."""
        return not self._store.steps()

    def save(
        self,
        state: RunState,
        identity: Mapping[str, Any],
        *,
        model: nn.Module,
        optimizers: Arrays,
        balancing: nn.Module,
    ) -> None:
        """Write a checkpoint; it is durable when this returns.

        Where ``state`` names a best step before this one, the checkpoint before must hold its
        weights.

        Raises:
            StorageError: The disk refused; the checkpoints there are intact.
            ArtefactError: The best weights in the checkpoint before were altered.
        """
        files: dict[str, FileSource] = {
            _STATE: jsonio.dumps(state.to_json()),
            _IDENTITY: jsonio.dumps(identity),
            _MODEL: arrays_writer(arrays_of(model)),
            _OPTIMIZERS: arrays_writer(optimizers, finite=True),
            _BALANCING: arrays_writer(arrays_of(balancing), finite=True),
        }
        if state.best_step not in (None, state.step):
            assert self._newest is not None, "each new best made a checkpoint"
            files[_BEST] = _copier(self._newest)
        self._newest = self._store.save(state.step, files)
        self._tell()

    def load(self, check: Callable[[Mapping[str, Any]], None], *, strict: bool) -> Snapshot | None:
        """The newest checkpoint that is intact; None if there never was one.

        Args:
            check: Called with the identity of the checkpoint; raises if it may not go on.
            strict: Refuse, where the newest one is damaged, instead of taking the one before.

        Raises:
            ArtefactError: All are damaged; or the newest is, if ``strict``.
        """
        found = self._store.newest(strict=strict)
        self._tell()
        if found is None:
            return None
        with found:
            identity = found.json(_IDENTITY)
            assert isinstance(identity, dict), "verified, so it is ours"
            check(identity)
            self._newest = found.path
            return Snapshot(
                state=RunState.from_json(found.json(_STATE)),
                model=found.arrays(_MODEL, finite=True),
                optimizers=found.arrays(_OPTIMIZERS, finite=True),
                balancing=found.arrays(_BALANCING, finite=True),
            )

    def best(self) -> Arrays:
        """The best weights of the newest checkpoint.

        Raises:
            ArtefactError: It is damaged.
        """
        found = self._store.newest(strict=True)
        assert found is not None, "a finished run has a checkpoint"
        with found:
            return found.arrays(_BEST if _BEST in found.names else _MODEL, finite=True)

    def _tell(self) -> None:
        for notice in self._store.notices:
            self._notify(notice)
        self._store.notices.clear()


def _copier(checkpoint: Path) -> Callable[[Path], None]:
    """Writes the best weights of a checkpoint to another place, in little memory."""

    def write(path: Path) -> None:
        manifest = jsonio.loads((checkpoint / "MANIFEST.json").read_bytes(), where=checkpoint.name)
        assert isinstance(manifest, dict), "we wrote it"
        entries: Any = manifest["files"]
        name = _BEST if _BEST in entries else _MODEL
        digest = hashlib.sha256()
        with (checkpoint / name).open("rb") as source, path.open("xb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != entries[name]["sha256"]:
            raise ArtefactError(
                "the best weights were altered since they were written",
                where=f"{checkpoint.name}/{name}",
                hint="Check the disk, then resume: an older checkpoint is taken.",
            )

    return write


def arrays_of(module: nn.Module) -> dict[str, Array]:
    """The parameters and buffers by name; views, not copies, on the CPU."""
    return {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}


def put_arrays(module: nn.Module, arrays: Arrays, where: str) -> None:
    """Copy arrays into the parameters and buffers of the same names.

    Raises:
        ArtefactError: Other names or shapes.
    """
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtefactError(
            f"its tensors are not those of this run: {error}",
            where=where,
            hint="Resume with the configuration that the run began with.",
        ) from error
