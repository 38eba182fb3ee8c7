"""Holding a log against what was there before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyrank.bundle import Bundle, Distribution, Profile
from polyrank.data import open_log
from polyrank.errors import ConfigError, DataError, counted
from polyrank.monitoring.calibration import calibration
from polyrank.monitoring.drift import Drift, Rise, compare, level, rise
from polyrank.monitoring.labels import join_labels
from polyrank.monitoring.reading import Seen, read
from polyrank.monitoring.thresholds import LEVELS, Thresholds
from polyrank.monitoring.untyped import columns_by_type
from polyrank.monitoring.watched import Calibrated, Finding, Watched
from polyrank.scoring.profiles import (
    Columns,
    Groups,
    Values,
    counted_by,
    distribution_of,
    group_of,
    inputs_of,
    outputs_of,
    unseen_of,
)

Pairs = dict[str, tuple[Distribution, Distribution]]


def watch(
    log: Any,
    *,
    bundle: Bundle | None = None,
    reference: Any = None,
    labels: Any = None,
    observed_until: int | str | None = None,
    thresholds: Thresholds | None = None,
    resamples: int = 200,
) -> Watched:
    """Hold a log of served predictions, or any impression log, against a reference.

    Args:
        log: A path, glob, folder or Arrow-compatible table. Features, predictions and labels that
            it has are looked at; those it lacks are named in ``notes``.
        bundle: The model: what columns mean, which ids it knows, and what its validation rows
            looked like. Null: columns are told apart by their types.
        reference: Another log to compare with, instead of the bundle's validation rows.
        labels: A table of labels that the log lacks, matched by request and item; see
            ``join_labels``.
        observed_until: As in ``Maturity``: when the labels were looked at, of tasks whose labels
            come late; null: when the training log was cut, so that no later row has a label.
        thresholds: When a change is worth telling.
        resamples: Bootstrap draws of the intervals of calibration.

    Raises:
        ConfigError: There is nothing to compare with, or labels without a bundle.
        DataError: A log is refused, or the log has no rows.
    """
    limits = thresholds or Thresholds()
    check_reference(bundle, reference)
    on = _told(log)
    if labels is not None:
        if bundle is None:
            raise ConfigError(
                "labels are read by the bundle's schema, and no bundle is given",
                where="--labels",
                hint="Give --bundle.",
            )
        log = list(join_labels(log, labels, bundle.schema))
    if reference is None:
        profile = _own(bundle)
        now = read(log, bundle, observed_until)
    else:
        before, now = read(reference, bundle), read(log, bundle, observed_until)
        profile = _profiled(before, bundle, _told(reference))
    if now.sample is None:
        raise DataError("the log has no rows", where=on)
    groups, pairs = _pairs(profile, now, bundle)
    too_few = min(groups.units, profile.units) < limits.min_units
    drifts, rises = _changes(pairs, limits, too_few)
    calibrated = calibration(now, limits, resamples)
    findings = _findings(drifts, rises, calibrated, now, limits)
    return Watched(
        log=on,
        reference=profile.on,
        unit=groups.unit,
        volume=now.volume,
        drifts=drifts,
        rises=rises,
        calibration=calibrated,
        findings=tuple(sorted(findings, key=lambda each: -LEVELS.index(each.level))),
        notes=tuple(_notes(profile, now, groups, pairs, too_few)),
        thresholds=limits,
        pairs=pairs,
    )


def check_reference(bundle: Bundle | None, reference: Any) -> None:
    """Refuse a log that there would be nothing to compare with.

    Raises:
        ConfigError: There is neither a profile nor a reference.
        DataError: The reference cannot be read.
    """
    if reference is None:
        _own(bundle)
    else:
        open_log(reference).schema()


def _own(bundle: Bundle | None) -> Profile:
    """The bundle's profile.

    Raises:
        ConfigError: There is none.
    """
    if bundle is None:
        told = "there is nothing to compare the log with"
        hint = "Give --bundle, whose validation rows are the reference, or --reference LOG."
        raise ConfigError(told, hint=hint)
    if bundle.profile is None:
        raise ConfigError(
            "the bundle holds no profile of its validation rows, since it was made before there "
            "were any or by hand",
            hint="Give --reference LOG, such as the validation part or a day that was well; a "
            "bundle that is trained anew has one.",
        )
    return bundle.profile


def _profiled(before: Seen, bundle: Bundle | None, on: str) -> Profile:
    """The profile of a log."""
    if before.sample is None:
        return Profile(on=on, rows=0, unit="row", units=0)
    groups = group_of(before.sample, _columns(bundle))
    unseen = unseen_of(before.sample, None if bundle is None else bundle.encoders)
    found = tuple(
        distribution_of(values, groups, unseen.get(values.feature or ""))
        for values in _values(before, bundle)
    )
    return Profile(
        on=on,
        rows=before.volume.rows,
        unit=groups.unit,  # type: ignore[arg-type]  # one of three
        units=groups.units,
        distributions=found,
    )


def _pairs(profile: Profile, now: Seen, bundle: Bundle | None) -> tuple[Groups, Pairs]:
    """What both have, counted in the reference's bins."""
    sample = pa.table({}) if now.sample is None else now.sample
    groups = group_of(sample, _columns(bundle))
    unseen = unseen_of(sample, None if bundle is None else bundle.encoders)
    known = {_key(each): each for each in profile.distributions}
    pairs: Pairs = {}
    for values in _values(now, bundle):
        before = known.get(_key(values))
        if before is not None and before.kind == values.kind:
            share = unseen.get(values.feature or "")
            pairs[_key(values)] = before, counted_by(before, values, groups, share)
    return groups, pairs


def _values(seen: Seen, bundle: Bundle | None) -> Iterator[Values]:
    if seen.sample is None:
        return
    if seen.schema is None or bundle is None:
        yield from columns_by_type(seen.sample)
    else:
        yield from inputs_of(seen.sample, seen.schema, bundle.schema.keys)
    yield from outputs_of(seen.sample, seen.outputs)


def _columns(bundle: Bundle | None) -> Columns:
    keys = None if bundle is None else bundle.schema.keys
    return Columns(None, None) if keys is None else Columns(keys.user, keys.request)


def _key(column: Distribution | Values) -> str:
    return f"{column.part} {column.name}"


def _changes(
    pairs: Pairs, limits: Thresholds, too_few: bool
) -> tuple[tuple[Drift, ...], tuple[Rise, ...]]:
    """Everything compared, the largest change first; quiet throughout where units are few."""
    names = {f"{now.name} (length)" for _, now in pairs.values()}
    rates = [
        (now, what, old, new)
        for before, now in pairs.values()
        for what, old, new in (
            ("missing", before.missing, now.missing),
            ("unseen", before.unseen, now.unseen),
        )
        if old is not None and new is not None and old.of and new.of and now.name not in names
    ]
    moving = [(before, now) for before, now in pairs.values() if before.compared]
    tests = max(len(moving) + len(rates), 1)
    if too_few:
        limits = limits.model_copy(update=dict.fromkeys(_QUIET, float("inf")))
    drifts = [compare(before, now, limits, tests) for before, now in moving]
    rises = [rise(now, what, old, new, limits, tests) for now, what, old, new in rates]
    by_size = sorted(drifts, key=lambda each: (each.psi != each.psi, -each.psi))
    return tuple(by_size), tuple(sorted(rises, key=lambda each: each.before - each.now))


_QUIET = ("psi_note", "psi_alarm", "rate_note", "rate_alarm")


def _findings(
    drifts: Iterable[Drift],
    rises: Iterable[Rise],
    calibrated: Iterable[Calibrated],
    now: Seen,
    limits: Thresholds,
) -> Iterator[Finding]:
    for drift in drifts:
        if drift.level != "quiet":
            told = (
                f"PSI {drift.psi:.2f}, {drift.noise:.2f} expected without a change; most at "
                f"{drift.where}"
            )
            yield Finding(level=drift.level, what="drift", name=drift.name, told=told)
    for each in rises:
        if each.level != "quiet":
            told = f"{each.before:.1%} before, {each.now:.1%} now"
            yield Finding(level=each.level, what=each.what, name=each.name, told=told)
    for task in calibrated:
        if task.level != "quiet":
            told = _ratio(task)
            yield Finding(level=task.level, what="calibration", name=task.task, told=told)
    share = now.volume.degraded_share
    found = level(share if share == share else 0.0, limits.degraded_note, limits.degraded_alarm)
    if found != "quiet":
        reasons = {w: n for w, n in (now.volume.degraded or {}).items() if w}
        told = f"{share:.1%} answered with less than there should be: {_listed(reasons)}"
        yield Finding(level=found, what="degraded", name="requests", told=told)


def _ratio(task: Calibrated) -> str:
    if task.upper != task.upper:
        come = f"{task.expected:,.0f} events predicted, none came"
        return f"{come}: predicted over observed at least {task.lower:.2f}"
    return f"predicted over observed {task.ratio:.2f}, {task.lower:.2f} to {task.upper:.2f}"


def _notes(
    profile: Profile, now: Seen, groups: Groups, pairs: Pairs, too_few: bool
) -> Iterator[str]:
    if too_few:
        units = counted(min(groups.units, profile.units), groups.unit)
        yield f"only {units}: nothing is called a drift"
    elif groups.unit != profile.unit:
        yield (
            f"the reference is counted by {profile.unit}, the log by {groups.unit}, as it knows no "
            "better"
        )
    if now.absent:
        yield f"not in the log: {_some(now.absent)}"
    lacking = [d.name for d in profile.distributions if _key(d) not in pairs and d.part != "input"]
    if lacking:
        yield f"no predictions in the log of: {_some(lacking)}"
    ids = [each.name for each, _ in pairs.values() if not each.compared]
    if ids:
        yield f"ids that come and go, of which only rates are compared: {_some(ids)}"
    if now.not_shown:
        yield f"{counted(now.not_shown, 'row')} that nobody saw: left out"
    if now.volume.refused:
        yield f"{counted(now.volume.refused, 'row')} with values that no model reads: left out"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number:,}" for what, number in counts.items())


def _told(log: Any) -> str:
    return str(log) if isinstance(log, str | Path) else "a table"
