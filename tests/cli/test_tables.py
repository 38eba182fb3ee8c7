"""What a person sees: nothing cut, nothing without a reason."""

from __future__ import annotations

import math
from typing import Any

import pytest

from polyrank.cli import tables
from polyrank.cli.numbers import number, percent, signed
from polyrank.evaluation import Comparison, ComparisonRow, Evaluation, EvaluationRow

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.71234, "0.7123"),
        (-0.5, "-0.5000"),
        (0.00001234, "1.2e-05"),
        (18.4377, "18.44"),
        (1234.56, "1,234.6"),
        (1_234_567.8, "1,234,568"),
        (NAN, "-"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_has_the_decimals_of_its_value() -> None:
    assert number(0.123, like=18.4) == "0.12"
    assert number(0.00001, like=0.7) == "0.0000"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "+0.00000"), (-0.00123, "-0.00123"), (123.45, "+123.5"), (NAN, "")]
)
def test_differences(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.371, "37.1%"), (0.0042, "0.42%"), (1.0, "100.0%"), (NAN, "-")]
)
def test_shares(value: float, text: str) -> None:
    assert percent(value) == text


def entry(task: str, metric: str, value: float = 0.5, **other: Any) -> EvaluationRow:
    reason = "only one class" if math.isnan(value) else None
    fields: dict[str, Any] = {
        "slice": None,
        "lower": value - 0.01,
        "upper": value + 0.03,
        "rows": 1000,
        "positives": None if metric in ("mae", "rmse", "xauc") else 100,
        "reason": reason,
        "interval_reason": reason,
        **other,
    }
    return EvaluationRow(task=task, metric=metric, value=value, **fields)


def evaluation(*rows: EvaluationRow, unit: str | None = "user", mode: str = "exact") -> Evaluation:
    return Evaluation(rows=rows, mode=mode, unit=unit, resamples=200, seed=0, confidence=0.95)


def shown(
    capsys: pytest.CaptureFixture[str],
    found: Evaluation,
    *,
    width: int = 100,
    metrics: tuple[str, ...] = (),
) -> list[str]:
    out = tables.console()
    out.width = width
    tables.show_evaluation(out, found, "title", metrics)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_value_stands_over_half_the_width_of_its_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, evaluation(entry("click", "auc", 0.75), entry("watch", "mae", 18.4)))
    assert lines == [
        "title",
        "task    rows  positive      AUC",
        "─" * 32,
        "click  1,000       100   0.7500",
        "                        ±0.0200",
        "",
        "task    rows    MAE",
        "─" * 20,
        "watch  1,000  18.40",
        "              ±0.02",
        "from all rows; ± is half the width of the 95% interval, over 200 draws of users",
    ]


def test_without_draws_there_is_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    row = entry("click", "auc", lower=NAN, upper=NAN, interval_reason="not asked for")
    lines = shown(capsys, evaluation(row, unit=None, mode="streamed"))
    assert lines[3].endswith("0.5000")
    assert lines[4] == "streamed, from sums and histograms; no intervals"


MANY = ("auc", "gauc", "pr_auc", "log_loss", "ne", "ece", "ratio", "ndcg@10")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_what_is_too_wide_goes_into_a_further_table(
    capsys: pytest.CaptureFixture[str], width: int
) -> None:
    names = ("a", "a_task_with_a_long_name")
    rows = [entry(task, metric) for task in names for metric in MANY]
    lines = shown(capsys, evaluation(*rows), width=width, metrics=MANY)
    heads = [line.split() for line in lines if line.startswith("task")]
    assert max(map(len, lines[1:-1])) <= width
    assert not any("…" in line for line in lines)
    seen = [word for head in heads for word in head[3:]]
    order = ["AUC", "GAUC", "log", "loss", "NE", "ECE", "ratio", "PR-AUC", "NDCG@10"]
    assert seen == order
    assert len(heads) == {60: 8, 80: 3, 100: 2, 200: 1}[width]


def cells_shown(capsys: pytest.CaptureFixture[str], name: str, width: int) -> list[list[list[str]]]:
    """The words of each line of each table."""
    out = tables.console()
    out.width = width
    columns = ["order", "- logged", "interval", "- in\nforce", "interval"]
    row = [name, "+0.12", "+0.1 to +0.2", "+0.34", "+0.3 to +0.4\nin all"]
    tables.show_cells(out, columns, [row], num_left=1, together=2)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= width
    parts = "\n".join(line for line in lines if "─" not in line).split("\n\n")
    return [[line.split() for line in part.splitlines()] for part in parts]


def test_cells_that_are_too_wide_go_into_a_further_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the first column again; what tells of one value stays together."""
    assert cells_shown(capsys, "some", 51) == [
        [
            ["-", "in"],
            ["order", "-", "logged", "interval", "force", "interval"],
            ["some", "+0.12", *["+0.1", "to", "+0.2"], "+0.34", *["+0.3", "to", "+0.4"]],
            ["in", "all"],
        ]
    ]
    for width in (50, 34, 30):
        assert cells_shown(capsys, "some", width) == [
            [["order", "-", "logged", "interval"], ["some", "+0.12", *["+0.1", "to", "+0.2"]]],
            [
                ["-", "in"],
                ["order", "force", "interval"],
                ["some", "+0.34", *["+0.3", "to", "+0.4"]],
                ["in", "all"],
            ],
        ]


def test_a_long_name_is_broken_before_a_number_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = cells_shown(capsys, "abcdefghij" * 4, 40)
    assert first[1][1:] == ["+0.12", *["+0.1", "to", "+0.2"]]
    assert "".join(line[0] for line in first[1:]) == "abcdefghij" * 4
    assert second[2][1:] == ["+0.34", *["+0.3", "to", "+0.4"]]


def test_metrics_that_are_nowhere_defined_are_left_out_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [entry(task, "gauc", NAN) for task in "ab"] + [entry(task, "auc") for task in "ab"]
    lines = shown(capsys, evaluation(*rows))
    assert "GAUC" not in lines[1]
    assert lines[-1] == "undefined: GAUC: only one class"


def test_reasons_name_the_first_places(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [entry(f"t{place}", "auc", NAN if place else 0.5) for place in range(6)]
    lines = shown(capsys, evaluation(*rows))
    assert lines[-1] == "undefined: AUC of t1, t2, t3 and 2 more: only one class"


def test_the_largest_slices_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [entry("click", "auc", slice=f"tab={n}", rows=100 + n) for n in range(25)]
    rows += [entry("click", "auc", slice="lang=" + "x" * 40)]
    lines = shown(capsys, evaluation(entry("click", "auc"), *rows))
    start = lines.index("by tab")
    values = [line.split()[0] for line in lines[start + 3 : start + 43 : 2]]
    assert values == [str(n) for n in range(24, 4, -1)]
    assert lines[start + 43] == "5 more values: --json"
    assert any("x" * 21 + "..." in line for line in lines[lines.index("by lang") :])


def difference(metric: str, a: float, b: float, lower: float, upper: float) -> ComparisonRow:
    reason = "only one class" if math.isnan(b - a) else None
    no_interval = None if not math.isnan(lower) else "no draws"
    return ComparisonRow(
        task="click",
        metric=metric,
        a=a,
        b=b,
        difference=b - a,
        lower=lower,
        upper=upper,
        significant=None if no_interval else lower > 0 or upper < 0,
        rows=10,
        positives=3,
        reason=reason,
        interval_reason=no_interval,
    )


def test_the_better_side_is_named_and_a_star_marks_a_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = (
        difference("auc", 0.7, 0.75, 0.01, 0.09),
        difference("ne", 0.9, 0.89, -0.02, 0.01),
        difference("ece", 0.5, 0.25, NAN, NAN),
        difference("gauc", NAN, NAN, NAN, NAN),
        difference("ndcg@10", 0.1, 0.2, 0.01, 0.2),
        difference("log_loss", 0.4, 0.5, 0.05, 0.15),
        difference("ratio", 0.9, 1.2, 0.2, 0.4),
        difference("ratio", 0.7, 0.9, 0.1, 0.3),
        difference("mae", 2.0, 2.0, 0.0, 0.0),
    )
    found = Comparison(rows=rows, unit="user", resamples=500, seed=0, confidence=0.9)
    tables.show_comparison(tables.console(), found, "A, B")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "A, B"
    assert "90% interval" in lines[1]
    assert lines[1].split()[-1] == "better"
    assert lines[3:10] == [
        "click  AUC       0.7000  0.7500  +0.05000  +0.01000 to +0.09000       B  *",
        "click  NE        0.9000  0.8900  -0.01000  -0.02000 to +0.01000       B",
        "click  ECE       0.5000  0.2500  -0.25000                             B",
        "click  log loss  0.4000  0.5000  +0.10000  +0.05000 to +0.15000       A  *",
        "click  ratio     0.9000  1.2000  +0.30000  +0.20000 to +0.40000       A",
        "click  ratio     0.7000  0.9000  +0.20000  +0.10000 to +0.30000       B",
        "click  MAE       2.0000  2.0000  +0.00000  +0.00000 to +0.00000       =",
    ]
    assert lines[10].startswith("* the interval leaves out 0. 500 paired draws of users")
    assert lines[11] == "the better ratio is the one closer to 1"
    assert lines[12] == "undefined: GAUC: only one class"
    assert len(lines) == 13
    alone = Comparison(rows=rows, unit=None, resamples=0, seed=0, confidence=0.9)
    tables.show_comparison(tables.console(), alone, "A, B", ["ndcg@10"])
    text = capsys.readouterr().out
    assert "NDCG@10" in text
    assert "leaves out" not in text
    assert "closer to 1" not in text


def test_square_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[bold]click[/bold]"
    row = entry(name, "auc", slice="[red]=[/red]")
    lines = shown(capsys, evaluation(entry(name, "auc"), row))
    assert any(line.startswith(name) for line in lines)
    assert "by [red]" in lines
    tables.show_cells(tables.console(), ["[b]"], [["[i]"]])
    assert "[i]" in capsys.readouterr().out


def test_a_terminal_keeps_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.console().width == 100
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "63")
    assert tables.console().width == 63
