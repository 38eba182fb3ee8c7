"""What a bundle says of its run that a later look at a log has to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyrank.bundle import Bundle
from polyrank.config import DataConfig
from polyrank.data import AnySplit, Source, TimeSplit
from polyrank.data.sources.files import FileSource
from polyrank.errors import ConfigError, suggest
from polyrank.schema import parse

FINGERPRINT = "fingerprint of "
"""In a card's provenance, before the name of a log: what its files were when they were read."""
_ALL = "all"


def fingerprints(logs: Mapping[str, Source]) -> dict[str, str]:
    """Of the logs that are files, for the card's provenance."""
    return {
        FINGERPRINT + name: log.fingerprint()
        for name, log in logs.items()
        if isinstance(log, FileSource)
    }


def max_quarantine_share(bundle: Bundle) -> float:
    """The share of rows that its run allowed to be refused; 0 where no run is known."""
    return float(bundle.card.run.get("data", {}).get("max_quarantine_share", 0.0))


def split_of(bundle: Bundle, part: str) -> AnySplit | None:
    """The split by which ``part`` is held out; null for "all".

    Raises:
        ConfigError: The bundle's run had no split, or none with this part.
    """
    if part == _ALL:
        return None
    split = _split(bundle)
    if split is None:
        raise ConfigError(
            f"there is no part {part!r}: the bundle's run divided no log, its parts are files",
            hint="Give the file of the part, and no part.",
        )
    if part not in split.parts():
        known = (*split.parts(), _ALL)
        raise ConfigError(f"the bundle's split has no part {part!r}", hint=suggest(part, known))
    return split


def seen_in_training(bundle: Bundle, log: Source, part: str = _ALL) -> list[str]:
    """Why metrics of ``bundle`` on these rows would flatter it; nothing where they are held out.

    Args:
        bundle: What is judged.
        log: By which rows.
        part: Of the bundle's own split.
    """
    if part == "train":
        return ["the bundle was trained on these rows"]
    if part != _ALL:
        return []
    same, split = _same_logs(bundle, log), _split(bundle)
    if "train" in same:
        return ["this is the log that the bundle was trained on"]
    if "log" in same and split is not None:
        held_out = " or ".join(f"--part {name}" for name in split.parts()[1:])
        return [
            "this is the log that the bundle was trained on, training rows included; "
            f"{held_out} judges what was held out"
        ]
    if same or not isinstance(split, TimeSplit | None):
        return []
    return list(_dates(bundle, log))


def _split(bundle: Bundle) -> AnySplit | None:
    tree = bundle.card.run.get("data")
    return None if tree is None else parse(DataConfig, tree, where="card.json: run.data").split


def _same_logs(bundle: Bundle, log: Source) -> list[str]:
    """The names of those logs of the run that are these very files."""
    found = fingerprints({"": log}).values()
    return [
        key.removeprefix(FINGERPRINT)
        for key, value in bundle.card.provenance.items()
        if key.startswith(FINGERPRINT) and value in found
    ]


def _dates(bundle: Bundle, log: Source) -> Iterator[str]:
    """A warning where rows are not later than the last one trained on."""
    time = bundle.schema.keys.time
    train = bundle.card.data.get("train")
    if time is None or train is None or train.last is None or time not in log.schema().names:
        return
    rows = early = 0
    for chunk in log.chunks([time]):
        rows += chunk.table.num_rows
        early += _num_until(chunk.table[time], train.last)
    if early:
        yield (
            f"{early:,} of {rows:,} rows ({early / rows:.0%}) are not later than the last row "
            f"that the bundle was trained on ({time} {train.last}): it may have seen them"
        )


def _num_until(times: Any, last: str) -> int:
    """How many of ``times`` are known not to be later than ``last``, a number or ISO 8601 as in the
    card; none, if one is a number and the other a time."""
    is_number = last.removeprefix("-").isdigit()
    if pa.types.is_integer(times.type) and is_number:
        is_early = pc.less_equal(times, int(last))
    elif pa.types.is_temporal(times.type) and not is_number:
        moment = datetime.fromisoformat(last)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        # Without its zone a time stands in UTC, the finest unit only serves to compare.
        naive = pc.cast(times, pa.timestamp("us"), safe=False)
        is_early = pc.less_equal(naive, pa.scalar(moment, pa.timestamp("us")))
    else:
        return 0
    return int(pc.sum(is_early).as_py() or 0)
