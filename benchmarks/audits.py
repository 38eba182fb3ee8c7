"""The numbers of an audit as Markdown, put between the marks of a document on it.

    polyrank audit examples/kuairand.yaml --data-root DIR --out FOLDER
    python benchmarks/audits.py FOLDER docs/audits/kuairand.md
    python benchmarks/audits.py FOLDER docs/audits/kuairand.md --check     # 1 where they differ

What stands outside of the marks, the reading, is left as it is. The tables are made from FOLDER's
audit.json by what makes its page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

from polyrank.audit.agreement import agreement, directed
from polyrank.audit.page.found import Found, Tree, read
from polyrank.audit.page.lines import told as place_of
from polyrank.audit.page.sentence import sentence
from polyrank.audit.page.tables import answer, is_bad
from polyrank.audit.page.words import bounds, metric, sentence_of, size
from polyrank.audit.report import REPORT
from polyrank.audit.transfer import Transfer
from polyrank.audit.verdict import Verdict
from polyrank.pages import number, percent

BEGIN, END = "<!-- from audit.json -->", "<!-- end -->"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown; the first column names its rows."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdicts(found: Found) -> str:
    """A row a task."""
    beside = list(found.tree["baselines"])
    rows = []
    for own in found.judged:
        known = [found.tree["baselines"][name]["metrics"] for name in beside]
        levels = [metrics.get(f"{own.task}.{own.metric}") for metrics in known]
        gain = size(own.gain.value, own.metric, signed=True)
        relative = own.relative.value
        rows.append(
            [
                own.task,
                f"**{answer(own)}**" if is_bad(own) else answer(own),
                f"{gain} ({bounds(own)})",
                "–" if relative is None else percent(relative, decimals=2, signed=True),
                metric(own.metric),
                *(size(value, own.metric) for value in (own.joint, own.twin, *levels)),
                size(own.detectable, own.metric) if isinstance(own, Verdict) else "–",
            ]
        )
    head = ["task", "sharing", f"gain ({found.confidence} interval)", "relative", "metric"]
    return table([*head, "joint", "twin", *beside, "seen with 80 %"], rows)


def transfer(found: Found) -> Iterator[str]:
    """By training, and how what one run shows agrees with it."""
    there = [own for own in found.transfers if own.gains]
    for by in dict.fromkeys(own.by for own in there):
        cells = {(own.target, own.source): _gain(found, own) for own in there if own.by == by}
        rows = [
            [f"{task} ({metric(found.comparison(task).metric)})"]
            + [cells.get((task, other), "") for other in found.tasks]
            for task in found.tasks
        ]
        yield (
            f"What the task of a row gains by that of a column, by {by.replace('_', ' ')}: mean "
            f"over seeds ± its standard error, {found.unit} held fixed."
        )
        yield ""
        yield table(["", *found.tasks], rows)
        yield ""
        yield from _agreements(found, [own for own in there if own.by == by])


def _gain(found: Found, own: Transfer) -> str:
    name, values = found.comparison(own.target).metric, [*own.gains.values()]
    error = "" if len(values) < 2 else " ± " + _fine(stdev(values) / len(values) ** 0.5, name)
    return f"{size(fmean(values), name, signed=True)}{error}"


def _fine(value: float, name: str) -> str:
    """As a gain has its digits, without a sign."""
    return size(value, name, signed=True).removeprefix("+")


def _agreements(found: Found, own: Sequence[Transfer]) -> Iterator[str]:
    measured = {(one.source, one.target): one.mean for one in own}
    for looked in found.looked[:1]:
        gradients = looked.evidence.gradients
        sources = {
            "look-ahead affinity": directed(looked.evidence.affinity),
            "cosine at the fork": directed(gradients.fork),
            "cosine at the last shared layer": directed(gradients.layer),
        }
        for name, seen in sources.items():
            how = agreement(seen, measured)
            if how.spearman is None:
                yield f"- {name}: {how.reason}."
            else:
                chance = "" if how.p_value is None else f", p {how.p_value:.2f}"
                yield (
                    f"- {name} against it: rank correlation {_two(how.spearman)}{chance}, over "
                    f"{how.pairs} ordered pairs."
                )


def _two(value: float) -> str:
    return number(value, decimals=2, signed=True)


def slices(found: Found) -> Iterator[str]:
    """Those on which something was found."""
    seen = [own for own in found.sliced if answer(own) in ("harmed", "helped", "may be harmed")]
    if not found.sliced:
        yield "The log has no users and items, so there are no slices."
    elif not seen:
        yield f"On none of {len(found.sliced)} slices is a task found to be harmed or helped."
    else:
        rows = [
            [
                own.task,
                own.slice or "",
                answer(own),
                f"{size(own.gain.value, own.metric, signed=True)} ({bounds(own)})",
                metric(own.metric),
                f"{own.rows:,}",
            ]
            for own in seen
        ]
        yield f"Of {len(found.sliced)} slices, verdicts corrected over all of them:"
        yield ""
        yield table(["task", "slice", "sharing", "gain", "metric", "rows"], rows)


def evidence(found: Found) -> Iterator[str]:
    """What one joint run shows."""
    for looked in found.looked[:1]:
        own = looked.evidence
        for where, place in (("fork", own.gradients.fork), ("layer", own.gradients.layer)):
            told = [
                f"{name.replace('/', ' and ')} "
                f"{_two(pair.cosine.value)} ({percent(pair.conflict, decimals=0)})"
                for name, pair in place.pairs.items()
                if pair.cosine.value is not None and pair.conflict is not None
            ]
            yield f"- Cosine {place_of(where)} (share of looks below 0): {'; '.join(told)}."
        used = [f"{name} {gate.effective:.1f}" for name, gate in own.gates.gates.items()]
        if used:
            yield f"- Experts that a row uses, by gate: {', '.join(used)}."
        for finding in own.gates.findings:
            yield f"- {finding}"
        errors = [
            f"{task} {seen.before.ece:.4f}"
            + ("" if seen.after is None or seen.after.ece is None else f" to {seen.after.ece:.4f}")
            for task, seen in own.reliability.items()
            if seen.before.ece is not None
        ]
        yield f"- ECE before and after calibration: {', '.join(errors)}."


def remedies(found: Found) -> Iterator[str]:
    """The ladder, as far as it was climbed."""
    climb = found.climb
    if climb is None:
        yield "No remedy was tried: no task was found to be harmed."
        return
    yield sentence_of(climb["told"])
    rows = [_remedy(own) for own in climb["tried"]]
    head = ["remedy", "removes", "harmed under it", "gain of the harmed", "on fresh seeds"]
    yield ""
    yield table([*head, "parameters", "multiply-adds", "scoring", "training"], _by(rows, climb))
    yield ""
    for own in climb["unfit"]:
        yield f"- {own['name']} cannot apply: {own['reason']}."
    if climb["untried"]:
        yield f"- Not tried, since a cheaper one was enough: {', '.join(climb['untried'])}."


def _by(rows: Sequence[tuple[Tree, list[str]]], climb: Tree) -> list[list[str]]:
    harmed = climb["harmed"]
    found = []
    for own, costs in rows:
        gains = [
            f"{one['task']} {size(one['gain']['value'], one['metric'], signed=True)}"
            for one in own["against_twins"]
            if one["task"] in harmed
        ]
        left = [one["task"] for one in own["against_twins"] if one.get("answer") == "harmed"]
        confirmed = own["confirmed"]
        told = "–" if confirmed is None else "keeps it" if confirmed["keeps"] else "breaks it"
        removes = "yes" if own["removes"] else "no"
        line = [own["name"], removes, ", ".join(left) or "none", "; ".join(gains), told, *costs]
        found.append(line)
    return found


def _remedy(own: Tree) -> tuple[Tree, list[str]]:
    names = ("parameters", "multiply_adds", "row_seconds", "run_seconds")
    cost = own["cost"]
    return own, ["–" if cost is None else f"{cost[name]['times']:.2f} ×" for name in names]


def took(found: Found) -> str:
    """Runs and their own time."""
    done = [one for one in found.tree["results"] if one["status"] == "done" and one["timing"]]
    seconds = sum(one["timing"]["cpu_seconds"] for one in done)
    failed = sum(one["status"] == "failed" for one in found.tree["results"])
    peak = max(one["timing"]["peak_bytes"] for one in done) / 2**30
    lost = f", {failed} of them failed" if failed else ""
    return (
        f"{len(found.tree['results'])} runs{lost}, {seconds / 60:.1f} min of CPU time, at most "
        f"{peak:.1f} GiB a process."
    )


def composed(found: Found) -> str:
    """All that stands between the marks."""
    parts = [
        ("Verdicts", [sentence(found).text.replace("`", ""), "", verdicts(found)]),
        ("Slices", [*slices(found)]),
        ("Who helps whom", [*transfer(found)]),
        ("Evidence from one joint run", [*evidence(found)]),
        ("Remedies", [*remedies(found)]),
        ("What it took", [took(found)]),
    ]
    return "\n\n".join(f"## {title}\n{chr(10).join(lines).strip()}" for title, lines in parts)


def renewed(text: str, numbers: str) -> str:
    """The document with these numbers between its marks; a new one for an empty text."""
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n".lstrip()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def main() -> int:
    """Write, or check."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("folder", type=Path)
    given.add_argument("document", type=Path)
    given.add_argument("--check", action="store_true")
    asked = given.parse_args()
    found = read(json.loads((asked.folder / REPORT).read_text(encoding="utf-8")))
    old = asked.document.read_text(encoding="utf-8") if asked.document.exists() else ""
    new = renewed(old, composed(found))
    if asked.check:
        return int(new != old)
    asked.document.parent.mkdir(parents=True, exist_ok=True)
    asked.document.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
