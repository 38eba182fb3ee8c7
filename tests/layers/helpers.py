"""Layouts and batches for the tests of the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from polyrank.data.batch import Batch, Ragged
from polyrank.data.layout import (
    IdColumn,
    Layout,
    NumericColumn,
    RaggedColumn,
    TargetStats,
    VectorColumn,
)

NUM_ROWS = 50


def layout() -> Layout:
    """Sides out of order, every kind of feature on every side that can have it."""
    return Layout(
        ids=(
            IdColumn(name="hour", side="context"),
            IdColumn(name="item", side="item"),
            IdColumn(name="user", side="user"),
            IdColumn(name="author", side="item"),
        ),
        numerics=(
            NumericColumn(name="length", side="item"),
            NumericColumn(name="age", side="user"),
            NumericColumn(name="load", side="context"),
            NumericColumn(name="age:missing", side="user"),
        ),
        ragged=(
            RaggedColumn(name="tags", side="item", pooling="mean", max_length=6),
            RaggedColumn(
                name="watched", side="user", pooling="attention", max_length=6, target="item"
            ),
            RaggedColumn(
                name="related", side="item", pooling="attention", max_length=6, target="author"
            ),
            RaggedColumn(name="liked", side="user", pooling="mean", max_length=6),
        ),
        vectors=(
            VectorColumn(name="picture", side="item", dim=5),
            VectorColumn(name="taste", side="user", dim=3),
        ),
        tasks=("click",),
        num_rows=NUM_ROWS,
        targets={"click": TargetStats(mean=0.5, std=1.0, count=1)},
    )


def only(
    *, ids: Sequence[IdColumn] = (), numerics: Sequence[NumericColumn] = (), num_rows: int = 0
) -> Layout:
    """A layout of few kinds of columns."""
    return Layout(
        ids=tuple(ids),
        numerics=tuple(numerics),
        ragged=(),
        vectors=(),
        tasks=("click",),
        num_rows=num_rows,
        targets={},
    )


def batch(
    rows: int, seed: int = 0, dtype: torch.dtype = torch.float32, of: Layout | None = None
) -> Batch:
    """Random rows of a layout; about one list in six is empty."""
    of = of or layout()
    generator = torch.Generator().manual_seed(seed)

    def ids(*shape: int) -> Tensor:
        return torch.randint(0, of.num_rows, shape, generator=generator)

    def floats(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    ragged = {}
    for column in of.ragged:
        lengths_B = torch.randint(0, column.max_length + 1, (rows,), generator=generator)
        ragged[column.name] = Ragged(values_V=ids(int(lengths_B.sum())), lengths_B=lengths_B)
    return Batch(
        ids_BF=ids(rows, len(of.ids)) if of.ids else torch.zeros(rows, 0, dtype=torch.int64),
        numeric_BN=floats(rows, len(of.numerics)),
        ragged=ragged,
        vectors={column.name: floats(rows, column.dim) for column in of.vectors},
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
