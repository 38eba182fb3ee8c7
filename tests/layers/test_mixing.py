"""Sums with weights, of which there may be any number.

Shapes: B rows, T sums, E terms, H width.
"""

from __future__ import annotations

import pytest
import torch

from polyrank.layers import weighted_sums


@pytest.mark.parametrize("num_sums", range(1, 10))
@pytest.mark.parametrize(("num_terms", "width"), [(1, 1), (2, 16), (3, 64), (7, 128), (23, 32)])
def test_the_bits_of_a_sum_do_not_depend_on_what_else_is_summed(
    num_sums: int, num_terms: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(num_sums)
    weights_BTE = torch.rand(64, num_sums, num_terms, generator=generator)
    x_BEH = torch.randn(64, num_terms + 3, width, generator=generator)
    own_BEH = x_BEH[:, :num_terms].contiguous()
    wide_BTE = torch.zeros(64, num_sums + 2, num_terms + 3)
    wide_BTE[:, :num_sums, :num_terms] = weights_BTE
    wide_BTE[:, num_sums:] = 0.5
    with torch.inference_mode():
        alone = weighted_sums(weights_BTE, own_BEH)
        among = weighted_sums(wide_BTE, x_BEH)[:, :num_sums]
    assert torch.equal(alone, among)
    expected = torch.einsum("bte,beh->bth", weights_BTE.double(), own_BEH.double())
    torch.testing.assert_close(alone.double(), expected, rtol=1e-5, atol=1e-5)


def test_with_gradients_it_is_the_plain_product() -> None:
    weights_BTE, x_BEH = torch.rand(5, 2, 3, requires_grad=True), torch.randn(5, 3, 4)
    assert torch.equal(weighted_sums(weights_BTE, x_BEH), torch.bmm(weights_BTE, x_BEH))


def test_no_rows_give_no_sums() -> None:
    with torch.inference_mode():
        assert weighted_sums(torch.rand(0, 2, 3), torch.randn(0, 3, 4)).shape == (0, 2, 4)
