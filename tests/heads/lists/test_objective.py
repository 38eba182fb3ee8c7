"""A funnel's objective with terms beside it, and what a configuration of terms may say."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from polyrank.config import RunConfig
from polyrank.data import Batch
from polyrank.errors import ConfigError
from polyrank.heads.funnels import Masked, Objective
from polyrank.heads.lists import ListConfig, ListObjective
from polyrank.model import ModelConfig
from polyrank.schema import Binary, Categorical, Duration, Keys, Schema, parse
from polyrank.training.step import denominators_of
from tests.heads.funnel_rows import CONFIGS, SCHEMA, batch_of, heads, objective, totals
from tests.heads.lists.slow import KINDS, Row, slow_mean, term

LABELS: Mapping[str, list[float | None]] = {
    "click": [1, 0, 1, 1, 0, 1, 0, None, 1, 0],
    "buy": [1, 0, 0, 1, 0, None, 0, 1, 1, 0],
    "like": [0, 1, 0, 0, None, 1, 0, 0, 1, 1],
}
REQUESTS = [4, 4, 4, 7, 7, 7, -1, 4, 7, -1]
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0, 3.0, 0.0, 1.0]


def batch() -> Batch:
    plain = batch_of(LABELS, WEIGHTS)
    return dataclasses.replace(plain, groups={"request": torch.tensor(REQUESTS)})


def with_terms(terms: Mapping[str, ListConfig], funnel: Objective | None = None) -> ListObjective:
    return ListObjective(funnel or Masked().build(SCHEMA, heads()), terms, SCHEMA)


def logits_of(chosen: Objective) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        output.name: torch.randn(10, output.num_logits, generator=generator).requires_grad_()
        for output in chosen.outputs
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["click", "buy", "like"])
def test_a_part_is_the_mean_of_plain_loops_in_the_tasks_own_space(kind: str, task: str) -> None:
    chosen, rows = with_terms({task: term(kind, weight=0.25)}), batch()
    logits = logits_of(chosen)
    name = f"{task}.{kind}"
    further = logits[name][:, 0].tolist() if kind == "jrc" else [0.0] * 10
    assert rows.observed_BT is not None
    seen = rows.observed_BT[:, SCHEMA.task_names.index(task)].tolist()
    listed = [
        Row(
            logits[task][at, 0].item(),
            int(LABELS[task][at] or 0),
            request=REQUESTS[at],
            weight=WEIGHTS[at],
            observed=seen[at],
            further=further[at],
        )
        for at in range(10)
    ]
    (part,) = [part for part in chosen.parts if part.name == name]
    assert (part.task, part.weight) == (task, 0.25)
    found = totals(chosen, logits, rows)[name].item()
    assert found == pytest.approx(slow_mean(kind, listed), abs=1e-6)


def test_what_the_funnel_says_stays() -> None:
    plain = Masked().build(SCHEMA, heads())
    chosen, rows = with_terms({"like": term("jrc"), "click": term("ranknet")}, plain), batch()
    logits = logits_of(chosen)
    assert chosen.outputs[: len(plain.outputs)] == plain.outputs
    assert chosen.parts[: len(plain.parts)] == plain.parts
    assert [part.name for part in chosen.parts[len(plain.parts) :]] == ["like.jrc", "click.ranknet"]
    (further,) = chosen.outputs[len(plain.outputs) :]
    assert (further.name, further.task, further.num_logits) == ("like.jrc", "like", 1)
    assert torch.equal(chosen.masks(rows)[:, : len(plain.parts)], plain.masks(rows))
    mine, theirs = totals(chosen, logits, rows), totals(plain, logits, rows)
    assert {name: mine[name] for name in theirs} == theirs
    for task, value_B in plain.predict(logits).items():
        assert torch.equal(chosen.predict(logits)[task], value_B)
    assert not list(chosen.parameters())
    assert not chosen.state_dict()


def test_parts_that_are_not_asked_for_are_not_computed() -> None:
    chosen, rows = with_terms({"click": term("jrc"), "like": term("listnet")}), batch()
    for name, reads in {"click.jrc": {"click", "click.jrc"}, "like.listnet": {"like"}}.items():
        logits = logits_of(chosen)
        losses = chosen.losses(logits, rows, [name])
        assert set(losses) == {name}
        losses[name].sum().backward()
        assert {task for task, logit in logits.items() if logit.grad is not None} == reads


def test_a_batch_in_which_no_request_can_be_ranked_has_no_such_part() -> None:
    rows = dataclasses.replace(batch(), groups={"request": torch.full((10,), -1)})
    chosen = with_terms({"click": term("listnet")})
    assert denominators_of(chosen, rows)[-1] == 0
    assert "click.listnet" not in totals(chosen, logits_of(chosen), rows)


@pytest.mark.parametrize("kind", sorted(set(CONFIGS) - {"masked"}))
def test_a_task_outside_of_the_chains_of_a_funnel_can_have_a_term(kind: str) -> None:
    funnel = objective(kind, CONFIGS[kind][0])
    chosen, rows = with_terms({"like": term("listnet")}, funnel), batch()
    logits = logits_of(chosen)
    alone = totals(with_terms({"like": term("listnet")}), logits, rows)["like.listnet"]
    assert torch.equal(totals(chosen, logits, rows)["like.listnet"], alone)


# The configuration.

FITS = Schema(
    features=(Categorical(name="item"),),
    tasks=(
        Binary(name="click"),
        Binary(name="buy", within="click"),
        Binary(name="like"),
        Duration(name="watch"),
    ),
    keys=Keys(request="request"),
)


def faults(tree: dict[str, Any], schema: Schema = FITS) -> dict[str | None, str]:
    """What is wrong with the model of a run, by place."""
    run = {
        "schema": schema.model_dump(mode="json"),
        "data": {"train": "a", "validation": "b"},
        "model": tree,
    }
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, run)
    return {fault.where: str(fault) for fault in caught.value.problems or (caught.value,)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_that_fits(kind: str) -> None:
    tree = {"lists": {"click": {"kind": kind, "weight": 0.5}}}
    config = parse(ModelConfig, tree)
    config.check(FITS)
    assert parse(ModelConfig, config.model_dump(mode="json")) == config
    parse(ModelConfig, {"funnel": {"kind": "esmm"}, "lists": {"like": {"kind": kind}}}).check(FITS)


RCR = {"kind": "rcr"}


@pytest.mark.parametrize(
    ("tree", "place", "message"),
    [
        ({"lists": {"clik": RCR}}, "clik", "'clik', which is no task.*click"),
        ({"lists": {"watch": RCR}}, "watch", "'watch' is duration.*Give it to a binary task"),
        (
            {"funnel": {"kind": "esmm"}, "lists": {"buy": RCR}},
            "buy",
            "funnel 'esmm' decides what 'buy' learns from.*'masked', or leave out",
        ),
        ({"funnel": {"kind": "esmm"}, "lists": {"click": RCR}}, "click", "funnel 'esmm' decides"),
        (
            {"heads": {"like": {"kind": "huber"}}, "lists": {"like": RCR}},
            "like",
            "beside head 'cross_entropy', and 'like' has 'huber'. Choose that head",
        ),
        (
            {"delay": {"like": {"kind": "naive"}}, "lists": {"like": RCR}},
            "like",
            "'like' learn from rows that may yet become 1.*Leave one of them out",
        ),
    ],
)
def test_a_term_that_does_not_fit_is_refused(
    tree: dict[str, Any], place: str, message: str
) -> None:
    assert re.search(message, faults(tree)[f"model.lists.{place}"], re.DOTALL)


def test_a_schema_without_requests_is_refused() -> None:
    schema = Schema(features=FITS.features, tasks=FITS.tasks)
    found = faults({"lists": {"click": RCR}}, schema)
    assert "no `keys.request`. Name the column" in found["model.lists"]


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="listnet"):
        parse(ModelConfig, {"lists": {"click": {"kind": "listnett"}}})
