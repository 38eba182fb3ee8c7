"""What was found in a log, as a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polyrank import pages
from polyrank.errors import counted
from polyrank.monitoring.drift import bin_names, shares
from polyrank.monitoring.watched import Watched
from polyrank.pages import Block, Column, Facts, Figure, Page, Prose, Section, Table, code, percent
from polyrank.pages.blocks import Cell

MOST_FIGURES = 20


def write_page(found: Watched, path: Path) -> None:
    """Write the page of a log.

    Raises:
        ConfigError: The extra ``report`` is not installed.
        StorageError: The file cannot be written.
    """
    pages.require_report()
    pages.write_page(composed(found), path)


def composed(found: Watched) -> Page:
    """The page."""
    alarms = sum(each.level == "alarm" for each in found.findings)
    notes = len(found.findings) - alarms
    verdict = (
        f"{counted(alarms, 'alarm')} and {counted(notes, 'note')}."
        if found.findings
        else "Nothing moved beyond chance and thresholds."
    )
    sections = [Section("Log", [Facts(dict(_facts(found))), *_prose(found)])]
    if found.findings:
        sections.append(Section("Changes", [_findings(found)]))
    sections.append(Section("Drift", list(_drift(found))))
    if found.calibration:
        sections.append(Section("Calibration", [_calibration(found)]))
    return Page(
        title="Is what is served still what was learned?",
        verdict=verdict,
        tone="bad" if alarms else "neutral" if notes else "good",
        kind="polyrank · monitor",
        sections=sections,
        note=f"{code(found.log)} against {code(found.reference)}.",
    )


def _facts(found: Watched) -> Iterator[tuple[str, str]]:
    volume = found.volume
    yield "Rows", f"{volume.rows:,}"
    for name, number in (("Requests", volume.requests), ("Users", volume.users)):
        if number is not None:
            yield name, f"{number:,}"
    if volume.first is not None:
        yield "First", volume.first
        yield "Last", str(volume.last)
    if volume.degraded is not None:
        yield "Requests degraded", percent(volume.degraded_share)
    for each in volume.versions:
        told = f"{each.model} {str(each.version)[:12]}, value model {each.value_version}"
        yield f"{told}, profile {each.profile}", f"{each.requests:,} requests"


def _prose(found: Watched) -> list[Block]:
    return (
        [Prose(*(f"{note[0].upper()}{note[1:]}." for note in found.notes))] if found.notes else []
    )


def _findings(found: Watched) -> Table:
    rows: list[list[Cell]] = [
        [f"{f.level}: {f.what}, {f.name}" if f.name else f"{f.level}: {f.what}", f.told]
        for f in found.findings
    ]
    marked = [place for place, f in enumerate(found.findings) if f.level == "alarm"]
    return Table("What moved, the loudest first.", ["What", "How"], rows, marked)


def _drift(found: Watched) -> Iterator[Block]:
    rows: list[list[Cell]] = [
        [d.name, d.part, d.psi, d.noise, d.bound, d.largest, d.where, d.level] for d in found.drifts
    ]
    columns: list[str | Column] = [
        "Column",
        "Of",
        "PSI",
        "By chance",
        "At most",
        "Largest change",
        "In",
        "Verdict",
    ]
    caption = (
        "Population stability index of each column; by chance: on average without a change; at "
        "most: but rarely, over all columns together."
    )
    yield Table(caption, columns, rows)
    rises: list[list[Cell]] = [
        [r.name, r.what, r.before, r.now, r.level] for r in found.rises if r.now or r.before
    ]
    if rises:
        heads: list[str | Column] = ["Column", "", Column("Before", percent)]
        told = "Shares of missing and unseen values."
        yield Table(told, [*heads, Column("Now", percent), "Verdict"], rises)
    drifting = [drift for drift in found.drifts if drift.level != "quiet"][:MOST_FIGURES]
    for place, drift in enumerate(drifting):
        told = f"prediction of {drift.name}" if drift.part == "prediction" else drift.name
        yield _figure(found, f"{drift.part} {drift.name}", told, place)


def _figure(found: Watched, key: str, told: str, place: int) -> Figure:
    """Shares by bin, before and now."""
    import altair as alt

    before, now = found.pairs[key]
    names = bin_names(before)
    both = {"reference": shares(before), "log": shares(now)}
    rows = [
        (names[b], b, side, float(share_B[b]))
        for side, share_B in both.items()
        for b in range(len(names))
        if both["reference"][b] or both["log"][b]
    ]
    encoding = {
        "x": alt.X("bin:N", sort=alt.EncodingSortField("order"), title=None),
        "y": alt.Y("share:Q", title="share", axis=alt.Axis(format="%")),
        "color": alt.Color("rows:N", title=None, sort=list(both)),
        "xOffset": alt.XOffset("rows:N", sort=list(both)),
    }
    chart = alt.Chart(pages.rows()).mark_bar().encode(**encoding)
    return Figure(
        name=f"drift-{place}",
        title=told,
        caption="Share of rows in each bin of the reference.",
        alt=f"Bars of the share of each bin of {told}, in the reference and in the log.",
        data=pages.in_columns(("bin", "order", "rows", "share"), rows),
        charts=[chart],
    )


def _calibration(found: Watched) -> Table:
    columns: list[str | Column] = ["Task", "Labels", "Events", "Ratio", "From", "To", "ECE", ""]
    rows: list[list[Cell]] = [
        [
            each.task,
            f"{each.rows:,}",
            "" if each.positives is None else f"{each.positives:,}",
            each.ratio,
            each.lower,
            each.upper,
            each.ece,
            each.reason or each.level,
        ]
        for each in found.calibration
    ]
    return Table("Sum of predictions over sum of labels, with its 95 % interval.", columns, rows)
