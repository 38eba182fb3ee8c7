"""The page of an audit, in words, in numbers and in a real browser."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest

from polyrank.audit.page import write_page
from polyrank.audit.page.compose import composed
from polyrank.audit.page.found import read
from polyrank.audit.page.sentence import sentence
from polyrank.errors import ArtefactError
from polyrank.pages import Facts, Figure, Page, Prose, Table
from polyrank.pages.render import render
from tests.audit.audited import Tree, audited, judged, renamed, warned
from tests.audit.bench import TASKS
from tests.pages.browser import chromium, opened
from tests.pages.sample import HOSTILE

SIZES: list[tuple[int, Literal["light", "dark"]]] = [(380, "dark"), (1400, "light")]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return audited()


@pytest.fixture(scope="module")
def page(tree: Tree) -> Page:
    return page_of(tree)


def page_of(tree: Tree) -> Page:
    return composed(read(tree))


def figures(page: Page) -> dict[str, Figure]:
    return {figure.name: figure for figure in page.figures()}


def tables(page: Page) -> list[Table]:
    blocks = [block for section in page.sections for block in section.blocks]
    return [block for block in blocks if isinstance(block, Table)]


def prose(page: Page, title: str) -> str:
    (section,) = (one for one in page.sections if one.title == title)
    return " ".join(
        text for block in section.blocks if isinstance(block, Prose) for text in block.paragraphs
    )


def rows(figure: Figure) -> list[dict[str, Any]]:
    return [dict(zip(figure.data, row, strict=True)) for row in zip(*figure.data.values())]  # noqa: B905


def test_harm_comes_first_as_a_loss_with_its_interval(tree: Tree) -> None:
    """The sentence of the audit that a user waits for, to the letter."""
    changed = judged(tree, "click", "harmed", -0.0031, -0.0049, -0.0012)
    changed = judged(changed, "like", "helped", 0.0102, 0.004, 0.016)
    changed = judged(changed, "watch_time", "unharmed", 0.0, -0.001, 0.001)
    text, tone = sentence(read(changed))
    assert text == (
        "Sharing hurts `click` by 0.0031 AUC (95\xa0% interval 0.0012 to 0.0049); it helps `like` "
        "by 0.0102 AUC (95\xa0% interval 0.0040 to 0.0160). `watch_time` is unharmed: no loss that "
        "matters."
    )
    assert tone == "bad"
    assert page_of(changed).verdict == text
    healed = judged(changed, "click", "unharmed", 0.0, -0.0001, 0.0001)
    assert sentence(read(healed)).tone == "good"


def test_what_is_undecided_stands_with_the_power(tree: Tree) -> None:
    changed = judged(tree, "click", "undecided", -0.1, -0.3, 0.1)
    for task in ("like", "watch_time"):
        changed = judged(changed, task, "unharmed", 0.0, -0.001, 0.001)
    changed["verdicts"]["tasks"][0]["detectable"] = 0.0123
    text, tone = sentence(read(changed))
    assert "`click` is undecided: with a chance of 80\xa0%" in text
    assert "a gain or loss of 0.0123 AUC in `click`" in text
    assert tone == "neutral"
    assert "`click`: undecided, since too few." in prose(page_of(changed), "Verdicts")


def test_one_seed_only_warns(tree: Tree) -> None:
    text, tone = sentence(read(warned(tree, "like")))
    assert text.startswith("One seed can only warn, and gives no verdict. It warns that sharing ")
    assert "`like`" in text
    assert "`click`" not in text
    assert tone == "neutral"
    assert "warns of no task" in sentence(read(warned(tree))).text
    table = tables(page_of(warned(tree, "like")))[0]
    assert [row[1] for row in table.rows] == ["no warning", "may be harmed", "no warning"]
    assert "harmed" not in {word for row in table.rows for word in row}
    asked = tree["settings"] | {"remedies": "auto"}
    unread = page_of(warned(tree, "like") | {"settings": asked})
    assert "one seed gives no verdict" in prose(unread, "What to do")


def test_tasks_and_parts_stand_in_their_own_order(tree: Tree) -> None:
    """However JSON sorts them."""
    changed = copy.deepcopy(tree)
    own = changed["evidence"][0]["found"]
    own["reliability"] = dict(reversed(own["reliability"].items()))
    page = page_of(changed)
    order = dict.fromkeys(row["task"] for row in rows(figures(page)["reliability"]))
    assert [*order] == [*TASKS]
    (labels,) = (one for one in tables(page) if one.headings[1].title == "Part")
    assert [row[1] for row in labels.rows][:3] == ["train", "validation", "test"]


def test_slices_stand_in_the_order_of_their_numbers(tree: Tree) -> None:
    one = tree["verdicts"]["slices"][0] | {"task": "like"}
    names = ["x=none", "x=15 to 99", "x=1,204 to 9,000", "x=6 to 14"]
    slices = [one | {"slice": name} for name in names]
    found = read(tree | {"verdicts": tree["verdicts"] | {"slices": slices}})
    assert [own.slice for own in found.sliced] == [names[3], names[1], names[2], names[0]]


def test_a_partial_report_says_so(tree: Tree) -> None:
    part = tree | {"runs": {"done": 9, "of": 14}, "partial": True, "verdicts": None}
    found = page_of(part)
    assert "5 runs of 14 are missing" in found.verdict
    assert "Nothing could be compared" in found.verdict
    assert "gains" not in figures(found)


def test_rows_are_not_called_users_and_small_gains_keep_their_digits(tree: Tree) -> None:
    changed = judged(tree, "click", "unharmed", -0.00003, -0.00012, 0.00006)
    found = page_of(changed | {"unit": "rows", "notices": ["nothing reads the column x"]})
    (facts,) = (block for block in found.sections[0].blocks if isinstance(block, Facts))
    assert "Rows judged on" in facts.facts
    assert "carries seeds and rows" in figures(found)["gains"].caption
    assert "Nothing reads the column x." in prose(found, "Verdicts")
    click = by_task(tables(found)[0])["click"]
    assert (click["Gain"], click["95\xa0% interval"]) == ("−0.00003", "−0.00012 to +0.00006")


def test_the_json_of_another_version_is_refused_with_what_to_do(tree: Tree) -> None:
    """Such as one from before it held the courses of runs, which had no format."""
    old = {key: value for key, value in tree.items() if key not in ("format", "courses")}
    with pytest.raises(ArtefactError, match=r"audit\.json: .*format 1.*repeats no finished run"):
        read(old)


def test_every_gain_interval_and_seed_in_the_figure_is_the_audits(tree: Tree, page: Page) -> None:
    table = rows(figures(page)["gains"])
    means = [row for row in table if row["kind"] == "mean"]
    for row, own in zip(means, tree["verdicts"]["tasks"], strict=True):
        assert (row["task"], row["gain"]) == (own["task"], own["gain"]["value"])
        assert (row["low"], row["high"], row["margin"]) == (own["low"], own["high"], own["margin"])
        assert row["below"] == -own["margin"]
        (compared,) = (one for one in tree["tasks"] if one["task"] == own["task"])
        sign = 1 if compared["higher_is_better"] else -1
        dots = [one for one in table if one["kind"] == "seed" and one["task"] == own["task"]]
        assert {one["seed"]: one["gain"] for one in dots} == {
            seed: sign * (compared["joint"][str(seed)] - compared["twin"][str(seed)])
            for seed in compared["seeds"]
        }


def test_every_other_number_of_a_figure_is_the_audits(tree: Tree, page: Page) -> None:
    found, evidence = figures(page), tree["evidence"][0]["found"]
    moved = {
        (row["column"], row["row"].split(" (")[0]): row for row in rows(found["transfer-pairs"])
    }
    for own in tree["transfers"]:
        assert moved[own["source"], own["target"]]["value"] == own["mean"]
    assert moved["click", "click"]["value"] is None
    for row in rows(found["affinity"]):
        assert row["value"] == evidence["affinity"]["means"][row["column"]][row["row"]]["value"]
    layer = evidence["gradients"]["layer"]
    for row in rows(found["cosines-layer"]):
        pair = layer["pairs"][f"{row['one']}/{row['other']}"]
        assert [row["step"], row["cosine"]] in pair["cosines"]
    for row in rows(found["magnitudes-fork"]):
        sizes = evidence["gradients"]["fork"]["sizes"][row["task"]]
        assert [row["step"], row["length"]] in sizes
    for row in rows(found["gates"]):
        gate = evidence["gates"]["gates"][row["gate"]]
        assert row["weight"] == gate["mean"][gate["experts"].index(row["expert"])]
    for row in rows(found["reliability"]):
        bins = evidence["reliability"][row["task"]][row["when"]]["bins"]
        assert [row[key] for key in ("prediction", "label", "low", "high", "rows")] in [
            [own[key] for key in ("prediction", "label", "low", "high", "rows")] for own in bins
        ]
    for row in rows(found["losses"]):
        role = "joint" if row["run"] == "joint" else f"twin {row['task']}"
        courses = [
            one for one in tree["courses"] if (one["task"], one["role"]) == (row["task"], role)
        ]
        assert [row["step"], row["value"]] in courses[0]["losses"]
    slices = {(own["task"], own["slice"]): own for own in tree["verdicts"]["slices"]}
    for row in rows(found["slices"]):
        own = slices[row["task"], row["name"]]
        assert (row["gain"], row["low"], row["high"]) == (
            own["gain"]["value"],
            own["low"],
            own["high"],
        )


def by_task(table: Table) -> dict[str, dict[str, Any]]:
    titles = [column.title for column in table.headings]
    return {own[0].name: dict(zip(titles, own, strict=True)) for own in table.rows}  # type: ignore[union-attr]


def test_what_stands_beside_the_joint_run_is_in_a_table(tree: Tree) -> None:
    (joint, *_) = (one for one in tree["results"] if one["role"] == "joint")
    small = joint | {"role": "small_twin like", "kind": "small_twin"}
    small["metrics"] = {"like.auc": 0.98765}
    beside = {"trees": {"told": {}, "reasons": {}, "metrics": {"click.auc": 0.87654}}}
    changed = tree | {"results": [*tree["results"], small], "baselines": beside}
    first, second = map(by_task, tables(page_of(changed))[:2])
    own = tree["verdicts"]["tasks"][0]
    assert first["click"]["Relative"] == own["relative"]["value"]
    assert first["click"]["Sharing"] == own["answer"]
    assert second["like"]["Smaller twin"] == "0.9877"
    assert second["click"]["Trees"] == "0.8765"
    assert second["like"]["Trees"] == "–"
    assert second["click"]["Joint"] == f"{own['joint']:.4f}"
    assert second["click"]["Twin"] == f"{own['twin']:.4f}"


def test_the_remedy_that_keeps_its_promise_stands_in_the_verdict(tree: Tree) -> None:
    click = tree["verdicts"]["tasks"][0]
    tried = {
        "name": "ple",
        "told": "PLE with 2 + 1 experts",
        "removes": True,
        "failures": ["seed 3 diverged"],
        "confirmed": {"keeps": True},
        "against_twins": [click | {"answer": "unharmed", "low": -0.0123, "high": 0.0456}],
        "cost": {
            "parameters": {"value": 9, "times": 1.3},
            "multiply_adds": {"value": 9, "times": 1.4},
            "row_seconds": {"value": 9, "times": 1.5},
            "run_seconds": {"value": 9, "times": 1.7},
        },
    }
    climb = {
        "tried": [tried],
        "unfit": [{"name": "drop", "reason": "nobody writes"}],
        "untried": ["split"],
        "recommended": "ple",
        "file": "recommended.yaml",
        "told": "ple removes the harm at 1.30 times the parameters",
    }
    found = page_of(
        judged(tree, "click", "harmed", -0.0031, -0.0049, -0.0012) | {"remedies": climb}
    )
    assert found.verdict.endswith("Ple removes the harm at 1.30 times the parameters.")
    told = prose(found, "What to do")
    assert "`recommended.yaml`" in told
    assert "drop cannot apply: nobody writes." in told
    assert "ple: seed 3 diverged." in told
    costs, gains = (own for own in tables(found) if own.headings[0].title == "Remedy")
    assert costs.rows[0][2:] == ["yes", "keeps it", 1.3, 1.4, 1.5, 1.7]
    assert [*costs.marked] == [0]
    assert gains.rows[0][2] == "unharmed"
    assert gains.rows[0][-1] == "−0.0123 to +0.0456"
    drawn = [row for row in rows(figures(found)["remedies"]) if row["task"] == "click"]
    assert [(row["name"], row["high"]) for row in drawn] == [
        ("as it is", -0.0012),
        ("ple", 0.0456),
    ]
    assert "asked for none" in prose(page_of(tree), "What to do")


def _no_gates(found: Any) -> None:
    found["gates"] |= {"gates": {}, "no_gates": "architecture 'x' has no gates"}
    found["gates"] |= {"banks": {}, "no_banks": "architecture 'x' has no experts"}


def _no_gradients(found: Any) -> None:
    for where in ("fork", "layer"):
        nothing = {"pairs": {}, "norms": {}, "sizes": {}, "reason": "tasks share nothing"}
        found["gradients"][where] |= nothing


def _no_affinity(found: Any) -> None:
    found["affinity"] |= {"means": {}, "reason": "no look"}


def _no_labels(found: Any) -> None:
    for own in found["labels"]["pairs"].values():
        own |= {"pearson": None, "reason": "no row has both"}


def _no_bins(found: Any) -> None:
    for own in found["reliability"].values():
        own["before"]["bins"], own["after"] = [], None


ABSENT = {
    "gates": ("Gates and experts", "architecture 'x' has no gates"),
    "cosines-fork": ("Gradients", "tasks share nothing"),
    "affinity": ("Who helps whom", "No affinity: no look"),
    "labels": ("Labels", "No two tasks' labels"),
    "reliability": ("Calibration", "no task has an observed row"),
    "transfer-pairs": ("Who helps whom", "not measured"),
    "losses": ("Training", "No run left a log"),
    "slices": ("Slices", "There are no slices"),
}


def test_what_is_not_there_is_a_sentence_and_no_chart(tree: Tree, page: Page) -> None:
    changed: Tree = json.loads(json.dumps(tree)) | {"transfers": [], "courses": []}
    changed["verdicts"]["slices"] = []
    for change in (_no_gates, _no_gradients, _no_affinity, _no_labels, _no_bins):
        change(changed["evidence"][0]["found"])
    found = page_of(changed)
    for gone, (title, told) in ABSENT.items():
        assert gone in figures(page)
        assert gone not in figures(found)
        assert told in prose(found, title)


def test_without_a_look_at_a_run_the_page_says_why(tree: Tree) -> None:
    off = tree["settings"] | {"evidence": False}
    found = page_of(tree | {"evidence": [], "settings": off})
    assert "`evidence` was switched off" in prose(found, "Evidence")
    assert {*figures(found)} == {"gains", "slices", "transfer-pairs", "losses", "validation"}


@pytest.fixture(scope="module")
def written(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tree, tmp_path_factory.mktemp("page"))


def test_the_page_is_small_and_a_function_of_the_json(tree: Tree, written: Path) -> None:
    text = written.read_text()
    assert render(page_of(json.loads(json.dumps(tree)))) == text
    assert len(text.encode()) < 2_000_000
    assert not re.search(r"(src|href)=\"?https?:", text)
    assert all(task in text for task in TASKS)


def test_it_is_drawn_whole_asks_for_nothing_and_fits_with_names_that_would_be_scripts(
    tree: Tree, written: Path, tmp_path: Path
) -> None:
    hostile = write_page(renamed(tree, "like", HOSTILE), tmp_path / "hostile")
    with chromium() as browser:
        for path, (width, scheme) in zip((written, hostile), SIZES, strict=True):
            with opened(browser, path, width=width, color_scheme=scheme) as found:
                figures = found.page.locator("figure.chart")
                drawn = found.page.locator("figure.chart:has(svg.marks)")
                assert figures.count() == drawn.count() > 10
                panels = found.page.locator(".panel")
                assert panels.count() == found.page.locator(".panel svg.marks").count()
                found.page.locator("#figure-gains summary").click()
                assert found.page.locator("#figure-gains .numbers tbody tr").count() == 9
                assert (found.said, found.asked) == ([], [])
                assert found.page.locator("img").count() == 0
                assert found.sideways() <= 0
                for other in (380, 1400):
                    found.page.set_viewport_size({"width": other, "height": 900})
                    found.page.wait_for_timeout(250)
                    assert found.sideways() <= 0
                assert (found.said, found.asked) == ([], [])
                cell = found.page.locator("#figure-transfer-pairs .mark-text text").first
                assert cell.text_content() not in ("", "–", None)
                if path == hostile:
                    assert HOSTILE in found.page.locator(".task").nth(1).inner_text()
