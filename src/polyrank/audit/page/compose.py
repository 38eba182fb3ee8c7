"""The page of an audit, put together."""

from __future__ import annotations

import json
from collections.abc import Iterator

from polyrank.audit.evidence import Evidence
from polyrank.audit.gradients import Place
from polyrank.audit.page.forest import forest, slices
from polyrank.audit.page.found import Found
from polyrank.audit.page.gates import gates
from polyrank.audit.page.labels import labels
from polyrank.audit.page.lines import cosines, course_figures, magnitudes, pair_names, told
from polyrank.audit.page.matrices import heat_map
from polyrank.audit.page.reliability import reliability
from polyrank.audit.page.remedies import remedies
from polyrank.audit.page.sentence import sentence
from polyrank.audit.page.tables import (
    levels_table,
    reasons,
    runs_table,
    slices_table,
    verdict_table,
)
from polyrank.audit.page.transfer import transfer
from polyrank.audit.page.words import sentence_of, whole
from polyrank.pages import (
    Block,
    Code,
    Column,
    Facts,
    Page,
    Prose,
    Section,
    Table,
    code,
    interval,
    number,
    percent,
)
from polyrank.pages.blocks import Cell

HOW = (
    "A verdict compares runs that differ in one thing: whether the other tasks learn. A twin has "
    "the same architecture, rows, order, first weights and budget as the joint run.",
    "Harmed: the interval leaves out 0 and the loss is at least the margin. Helped: the same the "
    "other way. Unharmed: a loss of the margin is ruled out. Undecided: these runs cannot tell. "
    "Harmed, helped and unharmed are corrected for how many tasks there are.",
    "Affinity, angles and lengths of gradients, gates, labels and calibration are evidence of what "
    "may be going on in one run, and no cause. Only training again measures what a task does to "
    "another, and only with fresh seeds does a remedy prove itself.",
)
NO_SLICES = (
    "There are no slices: the log names no users and items, and the audit was given no columns "
    "(`slices`)."
)


def composed(found: Found) -> Page:
    """The page."""
    said = sentence(found)
    return Page(
        title="Does sharing help or hurt each task?",
        verdict=said.text,
        tone=said.tone,
        kind="polyrank · audit",
        sections=list(_sections(found)),
        note=f"polyrank {found.tree['version of polyrank']}. All numbers of this page stand in "
        "`audit.json` beside it.",
    )


def _sections(found: Found) -> Iterator[Section]:
    yield Section("Verdicts", _verdicts(found))
    yield Section("Slices", _slices(found))
    yield Section("What to do", remedies(found))
    yield Section("Who helps whom", transfer(found))
    yield Section("Training", course_figures(found) or [Prose("No run left a log.")])
    if found.looked:
        seed, evidence = found.looked[0]
        yield Section("Gradients", _gradients(found, evidence))
        yield Section("Gates and experts", gates(evidence.gates, found.colors))
        yield Section("Calibration", _calibration(found, evidence, seed))
        yield Section("Labels", labels(evidence.labels, found.colors))
    else:
        yield Section("Evidence", [Prose(_unlooked(found))])
    yield Section("How to read this", [Prose(*HOW)])
    yield Section("The audit", _audit(found))


def _unlooked(found: Found) -> str:
    if not found.tree["settings"]["evidence"]:
        return "No gradients, gates, calibration or labels: `evidence` was switched off."
    return "No gradients, gates, calibration or labels: no joint run that was looked at is done."


def _verdicts(found: Found) -> list[Block]:
    notices = [Prose(*map(sentence_of, found.tree["notices"]))] if found.tree["notices"] else []
    if found.verdicts is None:
        return [Prose("No task has a joint run and a twin of one seed."), *notices]
    gains = [own for own in found.judged if own.gain.value is not None]
    return [
        verdict_table(found),
        *reasons(found),
        *([forest(found)] if gains else []),
        levels_table(found),
        _overall(found),
        *notices,
    ]


def _overall(found: Found) -> Facts:
    assert found.verdicts is not None
    all_ = found.verdicts.delta_m
    facts = {"Mean relative gain over tasks (Δm)": _percent(all_.gain.value)}
    notes = {}
    if all_.low is not None and all_.high is not None:
        notes[next(iter(facts))] = f"{found.confidence} interval " + interval(
            all_.low, all_.high, _percent
        )
    if all_.worst is not None:
        facts["Least relative gain"] = _percent(all_.least)
        notes["Least relative gain"] = f"of {all_.worst}"
    units = max((own.units for own in found.judged), default=0)
    facts[f"{found.unit.capitalize()} judged on"] = f"{units:,}"
    seeds = sorted({seed for own in found.comparisons for seed in own.seeds})
    facts["Seeds"] = f"{len(seeds)}"
    return Facts(facts, large=True, notes=notes)


def _percent(value: float | None) -> str:
    return percent(float("nan") if value is None else value, decimals=2, signed=True)


def _slices(found: Found) -> list[Block]:
    if not found.sliced:
        return [Prose(NO_SLICES)]
    there = [own for own in found.sliced if own.gain.value is not None]
    if not there:
        return [Prose("No slice has rows enough of a joint run and a twin.")]
    table = slices_table(found)
    nothing = Prose("On no slice is a task found to be harmed or helped.")
    return [nothing if table is None else table, slices(found)]


def _gradients(found: Found, evidence: Evidence) -> list[Block]:
    gradients = evidence.gradients
    blocks: list[Block] = [Prose(gradients.note)]
    for where, place in (("fork", gradients.fork), ("layer", gradients.layer)):
        if place.reason is not None:
            blocks.append(Prose(f"No gradients {told(where)}: {place.reason}."))
            continue
        figures = (cosines(found, place, where), magnitudes(found, place, where))
        blocks += [figure for figure in figures if figure is not None]
        blocks += _angles(found, place, where)
    return [*blocks, _noise(found, evidence)]


def _angles(found: Found, place: Place, where: str) -> list[Block]:
    """Mean cosines as a matrix; conflict and magnitudes as a table."""
    pairs = {name: two for name, two in pair_names(found.tasks).items() if name in place.pairs}
    if not pairs:
        return []
    cells: dict[tuple[str, str], float | None] = {}
    table: list[list[Cell]] = []
    for name, (one, other) in pairs.items():
        own = place.pairs[name]
        cells[one, other] = cells[other, one] = own.cosine.value
        two = [found.colors.cell(one), found.colors.cell(other)]
        table.append([*two, own.cosine.value, own.conflict, own.similarity.value])
    matrix = heat_map(
        name=f"angles-{where}",
        title=f"Mean angle of each pair, {told(where)}",
        caption=f"Cosine of two tasks' gradients at {code(place.where)}, mean over looks.",
        alt=f"Mean cosines of the pairs of {', '.join(found.tasks)}.",
        down=found.tasks,
        across=found.tasks,
        cells=cells,
        shown=lambda _, value: number(value, decimals=2, signed=True),
        axes=("Task", "Other task"),
        value="Cosine",
        largest=1.0,
    )
    columns: list[str | Column] = [
        "Task",
        "Other task",
        Column("Cosine", _cosine),
        Column("In conflict", percent),
        Column("Alike in length"),
    ]
    caption = (
        "In conflict: the share of looks whose cosine is below 0. Alike in length: 1 where both "
        "gradients are equally long, about 0 where one rules."
    )
    return [matrix, Table(caption, columns, table)]


def _cosine(value: float) -> str:
    return number(value, decimals=3, signed=True)


def _noise(found: Found, evidence: Evidence) -> Table:
    own = evidence.gradients.noise
    table: list[list[Cell]] = [
        [found.colors.cell(task), own[task].snr, own[task].looks, own[task].rows]
        for task in found.tasks
        if task in own
    ]
    columns: list[str | Column] = [
        "Task",
        "Signal to noise",
        Column("Looks", whole),
        Column("Rows of a batch", whole),
    ]
    return Table(
        "Squared length of a task's gradient over the variance of a batch's: about 0 where it "
        "cannot be told from noise.",
        columns,
        table,
    )


def _calibration(found: Found, evidence: Evidence, seed: int) -> list[Block]:
    of = Prose(f"Of the joint run of seed {seed}, on the {evidence.part} part.")
    return [of, *reliability(evidence.reliability, found.colors)]


def _audit(found: Found) -> list[Block]:
    failed = [one for one in found.tree["results"] if one["status"] == "failed"]
    why = [f"{one['role']}, seed {one['seed']}, failed: {one['reason']}." for one in failed]
    settings = json.dumps(found.tree["settings"], indent=2, ensure_ascii=False)
    return [
        runs_table(found),
        *([Prose(*why)] if why else []),
        Code(settings, "Settings, as they were used"),
    ]
