"""A model as an exported program that computes the user's side once.

Shapes: N rows, R users.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram, export

from polyrank.errors import ConfigError
from polyrank.model import RankingModel
from polyrank.scoring.export.cutting import cut_products
from polyrank.scoring.export.network import Gives, Inputs, Network, table_name
from polyrank.scoring.export.once import compute_once

_ROWS, _USERS, _ENTRIES = 6, 3, 2
"""Of the rows that are traced; any numbers that differ."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """An exported program, and the names of what goes in and out."""

    program: ExportedProgram
    example: Mapping[str, Tensor]
    """Tensors by name of what goes in, in its order."""
    outputs: tuple[str, ...]


def program_of(
    model: RankingModel,
    inputs: Inputs,
    gives: Gives,
    *,
    half: bool = False,
    once: bool = True,
    cut: bool = False,
    tables: bool | None = None,
) -> Program:
    """The program of a trained model; the numbers of rows, users and entries are free.

    Args:
        model: Trained.
        inputs: Of its layout.
        gives: What it is asked for.
        half: Products in bfloat16, as in training under autocast.
        once: Whether to compute the user's side once.
        cut: Whether to cut products where their results are cut, for a runtime that would copy.
        tables: Whether the embedding tables are inputs, as they are of logits (null).

    Raises:
        ConfigError: A part of the network cannot be exported.
    """
    network = Network(model, inputs, gives).eval()
    x, dims = _example(model, inputs, gives == "logits" if tables is None else tables)
    try:
        with _quiet(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            traced = export(network, (x,), dynamic_shapes=(dims,), strict=False)
            traced = traced.run_decompositions({torch.ops.aten.softplus.default: _softplus})
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(
            f"this network cannot be exported: {str(error).strip().splitlines()[0]}",
            where="model",
            hint="Score with --engine eager.",
        ) from error
    if cut:
        cut_products(traced)
    if once:
        compute_once(traced)
    return Program(program=traced, example=x, outputs=network.outputs)


def _example(
    model: RankingModel, inputs: Inputs, with_tables: bool
) -> tuple[dict[str, Tensor], dict[str, dict[int, object]]]:
    """Tensors to trace with, and which of their dimensions are free."""
    users, rows = Dim("users"), Dim("rows")
    free = {"users": users, "rows": rows, "entries": Dim.AUTO}
    sizes = {"users": _USERS, "rows": _ROWS}
    x: dict[str, Tensor] = {}
    dims: dict[str, dict[int, object]] = {}
    for each in inputs.each:
        size = sizes.get(each.counts, 0)
        if each.counts == "entries":
            counts = next(own.counts for own in inputs.each if own.name == _lengths(each.name))
            size = _ENTRIES * sizes[counts]
        shape = (size,) if each.width is None else (size, each.width)
        x[each.name] = torch.zeros(shape, dtype=getattr(torch, each.dtype))
        if each.name.endswith(".lengths"):
            x[each.name] += _ENTRIES
        dims[each.name] = {0: free[each.counts]}
    x["user_row"] = torch.arange(_ROWS) % _USERS
    if with_tables:
        for place, table in enumerate(model.tables_of_inputs()):
            x[table_name(place)] = table
            dims[table_name(place)] = {}
    return x, dims


def _softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^x) by operations that other runtimes have in float64."""
    assert beta == 1.0
    del threshold  # beyond it torch takes x, which is what this gives there
    return torch.relu(x) + torch.log1p(torch.exp(-x.abs()))


def _lengths(name: str) -> str:
    return name.removesuffix(".values") + ".lengths"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
