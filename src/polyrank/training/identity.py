"""What must be the same for a run to go on with the same bits.

May change between the beginning and the resumption of a run:

- ``output``, ``tracking``, ``evaluation``, ``training.checkpoint`` and ``training.expert_health``:
  they do not reach the weights.
- ``data``: paths, cache and limits; the content is compared by its fingerprint.
- ``training.threads``: with a notice, since the last bits may differ.
- ``training.epochs``: upwards, where the schedule is constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polyrank.config import RunConfig
from polyrank.errors import ConfigError, counted

_SAFE = (
    "output",
    "tracking",
    "evaluation",
    "data",
    "training.checkpoint",
    "training.expert_health",
    "training.threads",
)
_EPOCHS = "training.epochs"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What decides the bits of a run.

    Args:
        config: The tree of the configuration.
        data: Fingerprint of the encoded log.
        world: Number of processes.
        device: Kind of device.
        precision: Of the forward pass.
        threads: Of each process.
        torch: Version of torch.
        parent: Version of the model that the run started from, if from one.
    """

    config: dict[str, Any]
    data: str
    world: int
    device: str
    precision: str
    threads: int
    torch: str
    parent: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def compare(old: Mapping[str, Any], new: Identity, config: RunConfig) -> list[str]:
    """Notices about what may change but moves the last bits.

    Args:
        old: ``Identity.to_json`` at the checkpoint.
        new: Of the run that resumes.
        config: Its configuration.

    Raises:
        ConfigError: Something changed that may not; every difference is named.
    """
    current = new.to_json()
    differences = [
        f"{key}: {before!r} in the checkpoint, {after!r} now"
        for key, before, after in _differences(old["config"], current["config"])
        if not _may_change(key, before, after, config)
    ]
    differences += [
        f"{what}: {old.get(key)!r} in the checkpoint, {current[key]!r} now"
        for key, what in (
            ("parent", "version of the parent (--from)"),
            ("data", "fingerprint of the encoded log"),
            ("world", "number of processes"),
            ("device", "device"),
            ("precision", "precision"),
        )
        if old.get(key) != current[key]
    ]
    if differences:
        raise ConfigError(
            f"the run cannot go on, since {counted(len(differences), 'thing')} changed: "
            + "; ".join(differences),
            where="resume",
            hint="Restore them, or begin a new run with another `output`.",
        )
    return [
        f"{key}: {old[key]} before, {current[key]} now; the last bits may differ"
        for key in ("threads", "torch")
        if old[key] != current[key]
    ]


def _may_change(key: str, before: Any, after: Any, config: RunConfig) -> bool:
    if key == _EPOCHS:
        return config.training.schedule == "constant" and after > before
    return any(key == safe or key.startswith(f"{safe}.") for safe in _SAFE)


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key and both values; a key that one side lacks has None there."""
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new
