"""Taking and slicing rows of a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.encoded_rows import batch_of, same, tensors

few = settings(max_examples=50, deadline=None)


@few
@given(size=st.integers(1, 20), data=st.data())
def test_take_gives_the_rows_in_the_order_asked(size: int, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.integers(0, size - 1), max_size=30))
    taken = batch_of(list(range(size))).take(torch.tensor(wanted, dtype=torch.int64))
    same(taken, batch_of(wanted))


@few
@given(size=st.integers(0, 20), start=st.integers(0, 25), stop=st.integers(0, 25))
def test_slice_gives_rows_without_copying(size: int, start: int, stop: int) -> None:
    whole = batch_of(list(range(size)))
    part = whole.slice(start, stop)
    same(part, batch_of(list(range(size))[start:stop]))
    storages = {tensor.untyped_storage().data_ptr() for tensor in tensors(whole).values()}
    for name, tensor in tensors(part).items():
        assert tensor.numel() == 0 or tensor.untyped_storage().data_ptr() in storages, name


def test_take_leaves_the_batch_as_it_was() -> None:
    batch = batch_of([3, 4, 5])
    batch.take(torch.tensor([2, 0])).ids_BF.zero_()
    same(batch, batch_of([3, 4, 5]))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_all_tensors_move_together(device: str) -> None:
    moved = batch_of([1, 2]).to(torch.device(device))
    assert {tensor.device.type for tensor in tensors(moved).values()} == {device}
    assert len(moved) == 2


def test_what_is_absent_stays_absent() -> None:
    scoring = replace(
        batch_of([1, 2]), labels_BT=None, observed_BT=None, weight_B=None, groups=None
    )
    for part in (scoring.take(torch.tensor([1])), scoring.slice(0, 1)):
        assert len(part) == 1
        assert (part.labels_BT, part.observed_BT, part.weight_B, part.groups) == (None,) * 4
