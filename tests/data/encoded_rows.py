"""Batches in which every field of a row follows from its number, so that a mix-up shows."""

from __future__ import annotations

from typing import Any

import torch

from polyrank.data.batch import Batch, Ragged
from polyrank.data.layout import (
    IdColumn,
    Layout,
    NumericColumn,
    RaggedColumn,
    TargetStats,
    VectorColumn,
)
from polyrank.data.records import RecordFormat

STATS = TargetStats(mean=0.5, std=1.0, count=1)
LAYOUT = Layout(
    ids=(IdColumn(name="number", side="item"), IdColumn(name="half", side="user")),
    numerics=(NumericColumn(name="third", side="item"),),
    ragged=(
        RaggedColumn(name="few", side="user", pooling="mean", max_length=2),
        RaggedColumn(name="many", side="user", pooling="mean", max_length=7),
    ),
    vectors=(VectorColumn(name="image", side="item", dim=3),),
    tasks=("click", "like", "watch"),
    num_rows=2**31 - 1,
    targets=dict.fromkeys(("click", "like", "watch"), STATS),
    extras=("watch.length", "watch.censored"),
)
FORM = RecordFormat(LAYOUT, ("user", "request"))


def lists_of(numbers: list[int], most: int) -> Ragged:
    """Row n has n % (most + 1) ids, beginning with n."""
    lists = [list(range(n, n + n % (most + 1))) for n in numbers]
    return Ragged(
        values_V=torch.tensor([value for ids in lists for value in ids], dtype=torch.int64),
        lengths_B=torch.tensor([len(ids) for ids in lists], dtype=torch.int64),
    )


def batch_of(numbers: list[int]) -> Batch:
    """The rows of these numbers."""
    n = torch.tensor(numbers, dtype=torch.int64)
    return Batch(
        ids_BF=torch.stack([n, n // 2], 1),
        numeric_BN=(n / 3).float()[:, None],
        ragged={"few": lists_of(numbers, 2), "many": lists_of(numbers, 7)},
        vectors={"image": torch.stack([n, n + 1, -n], 1).float()},
        labels_BT=2.0**40 + torch.stack([n % 2, n % 3, n % 7], 1).double() / 3,
        observed_BT=torch.stack([n % 2 == 0, n % 3 == 0, n % 5 == 0], 1),
        weight_B=(n % 4).float(),
        groups={"user": n * 2**33 - 7, "request": -n},
        extras={"watch.length": (n / 7).float(), "watch.censored": (n % 2).float()},
    )


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    """All tensors of a batch by name."""
    found: dict[str, Any] = {
        "ids": batch.ids_BF,
        "numeric": batch.numeric_BN,
        "labels": batch.labels_BT,
        "observed": batch.observed_BT,
        "weight": batch.weight_B,
        **{f"vector {name}": vector for name, vector in batch.vectors.items()},
        **{f"extra {name}": value for name, value in batch.extras.items()},
        **{f"group {role}": codes for role, codes in (batch.groups or {}).items()},
    }
    for name, lists in batch.ragged.items():
        found |= {f"values {name}": lists.values_V, f"lengths {name}": lists.lengths_B}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def same(one: Batch, two: Batch) -> None:
    """Asserts that the batches are equal, in type and shape too."""
    left, right = tensors(one), tensors(two)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype, name
        assert torch.equal(tensor, right[name]), name


def numbers_of(batch: Batch) -> list[int]:
    """The numbers of the rows, every field checked against them."""
    numbers: list[int] = batch.ids_BF[:, 0].tolist()
    same(batch, batch_of(numbers))
    return numbers
