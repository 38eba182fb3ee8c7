"""What ``polyrank monitor`` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from polyrank.cli.numbers import number, percent
from polyrank.cli.tables import show_cells, show_title

if TYPE_CHECKING:
    from rich.console import Console

    from polyrank.monitoring import Calibrated, Drift, Rise, Served, Volume, Watched

MOST_DRIFTS = 12
MOST_RISES = 8
_WIDEST = 24


def show_watched(out: Console, found: Watched) -> None:
    """What was served, what is to be told, and the changes, the largest first."""
    show_title(out, f"{found.log} against {found.reference}")
    _say(out, _volume(found.volume))
    if found.volume.versions:
        cells = (_version(each) for each in found.volume.versions)
        out.print()
        show_cells(out, ("model", "version", "values", "profile", "requests"), cells, num_left=4)
    _show_findings(out, found)
    _show_drifts(out, found.drifts)
    _show_rises(out, found.rises)
    _show_calibration(out, found.calibration)
    for note in found.notes:
        _say(out, note)


def _show_findings(out: Console, found: Watched) -> None:
    out.print()
    if not found.findings:
        show_title(out, "no change beyond chance and thresholds")
        return
    show_title(out, "changes")
    cells = [(f.level, f.what, _short(f.name)) for f in found.findings]
    show_cells(out, ("", "what", "where"), cells, num_left=3)
    for finding in found.findings:
        _say(out, f"{finding.name}: {finding.told}")


def _show_drifts(out: Console, drifts: Sequence[Drift]) -> None:
    shown = [drift for drift in drifts if drift.reason is None]
    if not shown:
        return
    out.print()
    show_title(out, "drift")
    cells = (
        (
            _short(drift.name),
            number(drift.psi),
            number(drift.noise, like=drift.psi),
            number(drift.bound, like=drift.psi),
            number(drift.largest),
            _short(drift.where),
            "" if drift.level == "quiet" else drift.level,
        )
        for drift in shown[:MOST_DRIFTS]
    )
    columns = ("column", "PSI", "by chance", "at most", "L-inf", "in bin", "")
    show_cells(out, columns, cells, num_left=1)
    _say(out, "by chance: on average without a change; at most: but rarely, over all columns")
    if len(shown) > MOST_DRIFTS:
        _say(out, f"and {len(shown) - MOST_DRIFTS} more that moved less: --json")


def _show_rises(out: Console, rises: Sequence[Rise]) -> None:
    shown = [each for each in rises if each.now > each.before or each.level != "quiet"]
    if not shown:
        return
    out.print()
    show_title(out, "missing and unseen values")
    cells = (
        (
            _short(each.name),
            each.what,
            percent(each.before),
            percent(each.now),
            "" if each.level == "quiet" else each.level,
        )
        for each in shown[:MOST_RISES]
    )
    show_cells(out, ("column", "", "before", "now", ""), cells, num_left=2)


def _show_calibration(out: Console, calibration: Sequence[Calibrated]) -> None:
    if not calibration:
        return
    out.print()
    show_title(out, "predicted over observed")
    cells = (
        (
            each.task,
            f"{each.rows:,}",
            "" if each.positives is None else f"{each.positives:,}",
            number(each.ratio),
            _interval(each.lower, each.upper),
            number(each.ece),
            _interval(each.ece_lower, each.ece_upper),
            "" if each.level == "quiet" else each.level,
        )
        for each in calibration
    )
    columns = ("task", "labels", "events", "ratio", "95 %", "ECE", "95 %", "")
    show_cells(out, columns, cells, num_left=1)
    for each in calibration:
        if each.reason is not None:
            _say(out, f"{each.task}: {each.reason}")


def _volume(volume: Volume) -> str:
    return ", ".join(_volume_parts(volume))


def _volume_parts(volume: Volume) -> Iterator[str]:
    yield f"{volume.rows:,} rows"
    if volume.requests is not None:
        yield f"{volume.requests:,} requests"
    if volume.users is not None:
        yield f"{volume.users:,} users"
    if volume.first is not None:
        yield f"from {volume.first} to {volume.last}"
    if volume.degraded is not None:
        yield f"{percent(volume.degraded_share)} of requests degraded"


def _version(each: Served) -> tuple[str, str, str, str, str]:
    values = "" if each.value_version is None else str(each.value_version)
    version = (each.version or "")[:12]
    return each.model or "", version, values, each.profile or "", f"{each.requests:,}"


def _interval(lower: float, upper: float) -> str:
    if lower != lower:
        return ""
    return f"{number(lower)} to {number(upper)}" if upper == upper else f"from {number(lower)}"


def _short(name: str) -> str:
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 3]}..."


def _say(out: Console, text: str) -> None:
    out.print(text, style="dim", markup=False, soft_wrap=True)
