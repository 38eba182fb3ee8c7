"""Padding that makes a row's bits independent of the rows beside it.

Shapes: B rows, P rows after padding, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

ROW_MULTIPLE = 32
"""Rows handed to a product when bits must not depend on the batch."""

WIDTH_MULTIPLE = 16
"""Widths of products when bits must not depend on the batch."""


def padded_width(width: int) -> int:
    """``width``, rounded up to a multiple of 16."""
    return width + -width % WIDTH_MULTIPLE


def pad_rows(x_BD: Tensor) -> Tensor:
    """``x_BD`` with rows of zeros below, up to a multiple of 32 rows.

    The kernels behind a matrix product choose their blocking by the number of rows: with few rows
    left over, another kernel adds in another order. With whole blocks of rows and widths that are
    multiples of 16, a row of the result has the same bits in any float32 batch. Cut the result back
    to the rows that went in.
    """
    missing = -x_BD.shape[0] % ROW_MULTIPLE
    return F.pad(x_BD, (0, 0, 0, missing)) if missing else x_BD
