"""What gates do with their experts."""

from __future__ import annotations

from polyrank.audit.gates import Gate, GateEvidence
from polyrank.audit.page.lines import pair_names
from polyrank.audit.page.matrices import heat_map
from polyrank.audit.page.words import whole
from polyrank.pages import Block, Column, Figure, Prose, Table, TaskColors, in_columns, number, rows
from polyrank.pages.blocks import Chart, Value
from polyrank.pages.theme import INK

MOST_GATES, MOST_EXPERTS = 24, 24
"""That are drawn."""


def gates(found: GateEvidence, colors: TaskColors) -> list[Block]:
    """All of it, or one sentence on why there is none."""
    if not found.gates:
        reason = found.no_gates or "The run has none."
        return [Prose(f"No gates: {reason}."), *_banks(found)]
    findings = found.findings or ("No expert is unused, dead or outsized, and none rules a gate.",)
    return [
        Prose(f"On {found.rows:,} held-out rows.", *findings),
        _mixtures(found, colors),
        _table(found),
        *_divergences(found, colors),
        *_banks(found),
    ]


def _mixtures(found: GateEvidence, colors: TaskColors) -> Figure:
    kept = dict(list(found.gates.items())[:MOST_GATES])
    table: list[tuple[Value, ...]] = [
        (name, expert, weight)
        for name, gate in kept.items()
        for expert, weight in zip(gate.experts, gate.mean, strict=True)
    ]
    most = max(len(gate.experts) for gate in kept.values())
    fields = ("gate", "expert", "weight")
    return Figure(
        name="gates",
        title="Where each gate looks",
        caption="Mean weight that a gate gives each expert.",
        alt=f"Bars of the mean weights of {len(kept)} gates over at most {most} experts.",
        data=in_columns(fields, table),
        labels={"gate": "Gate", "expert": "Expert", "weight": "Mean weight"},
        charts=[_panel(name, _color(name, colors)) for name in kept],
        height=50 + 16 * most,
    )


def _color(gate: str, colors: TaskColors) -> str:
    """A gate's name ends with its task's, where it has one."""
    task = next((task for task in (gate, gate.rpartition(": ")[2]) if task in colors.tasks), None)
    return INK if task is None else colors.of(task)


def _panel(gate: str, color: str) -> Chart:
    import altair as alt

    chart: Chart = (
        alt.Chart(rows(), title=gate)
        .transform_filter(alt.FieldEqualPredicate(field="gate", equal=gate))
        .mark_bar(color=color)
        .encode(
            x=alt.X("weight:Q", title="Mean weight", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("expert:N", title=None, sort=None, axis=alt.Axis(labelLimit=120)),
            tooltip=[
                alt.Tooltip("expert:N", title="Expert"),
                alt.Tooltip("weight:Q", title="Mean weight", format=".3~f"),
            ],
        )
    )
    return chart


def _table(found: GateEvidence) -> Table:
    return Table(
        "Entropy of a row's weights in nats, and how many experts that is: of a row, and over all "
        "rows. Of one expert a row, a gate is a switch; of as many as there are, it does not "
        "choose.",
        ["Gate", Column("Experts", whole), "Entropy", "Used by a row", "Used over all rows"],
        [[name, *_numbers(gate)] for name, gate in found.gates.items()],
    )


def _numbers(gate: Gate) -> list[float]:
    return [len(gate.experts), gate.entropy, gate.effective, gate.effective_overall]


def _divergences(found: GateEvidence, colors: TaskColors) -> list[Block]:
    known = pair_names(colors.tasks)
    there = {name: value for name, value in found.divergences.items() if name in known}
    if not there:
        return []
    return [
        Table(
            "How far apart two tasks' gates are: 0, the same weights; 1, no expert in common "
            "(Jensen-Shannon divergence, bits, mean over rows).",
            ["Task", "Other task", Column("Divergence")],
            [[*map(colors.cell, known[name]), value] for name, value in there.items()],
        )
    ]


def _banks(found: GateEvidence) -> list[Block]:
    if not found.banks:
        return [Prose(f"No experts: {found.no_banks or 'the run has none'}.")]
    small = {name: bank for name, bank in found.banks.items() if len(bank.experts) <= MOST_EXPERTS}
    return [
        heat_map(
            name=f"experts-{place}",
            title=f"How alike experts are: {name}",
            caption="Linear CKA of their outputs: 1, they say the same; about 0, nothing in "
            "common.",
            alt=f"Similarity of {len(bank.experts)} experts.",
            down=bank.experts,
            across=bank.experts,
            cells={
                (one, other): bank.similarity[i][j]
                for i, one in enumerate(bank.experts)
                for j, other in enumerate(bank.experts)
            },
            shown=lambda _, value: number(value, decimals=2),
            axes=("Expert", "Other expert"),
            value="CKA",
            largest=1.0,
        )
        for place, (name, bank) in enumerate(small.items())
    ]
