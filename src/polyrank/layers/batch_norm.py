"""Batch norm whose evaluation does not depend on the batch.

Shapes: B rows, C columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyrank.layers.checks import positive

MOMENTUM = 0.1
"""Share of a batch in the running statistics."""
EPSILON = 1e-5
"""Added to a variance before its root."""


class BatchNorm(nn.Module):
    """y = (x - mean) / sqrt(variance + ε) * weight + bias, a column at a time (Ioffe and Szegedy,
    ICML 2015, algorithm 1).

    Training takes mean and variance of the batch and moves the running ones a tenth of the way to
    them (the running variance is the unbiased one). Evaluation takes the running ones only, so a
    row's result does not depend on the rows beside it; nor do the rows of zeros matter that
    ``pad_rows`` adds, which happens in evaluation only. A training batch of 0 or 1 rows has no
    variance: it takes the running statistics and leaves them as they are. So does a column whose
    batch statistics are not finite leave its own, for a step that is skipped must not stay in the
    weights that are saved. Statistics are computed and kept in the parameters' precision, float32
    under autocast; the result has the input's.

    Under several processes each takes the statistics of its own rows: the weights differ from those
    of one process on the same batches, but not from process to process. The running statistics do,
    and training makes them their mean in all processes before it evaluates or saves.

    Args:
        width: Columns C.

    Raises:
        ConfigError: ``width`` below 1.
    """

    running_mean: Tensor
    running_variance: Tensor
    _held_C: Tensor | None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(positive("width", width)))
        self.bias = nn.Parameter(torch.empty(width))
        self.register_buffer("running_mean", torch.empty(width))
        self.register_buffer("running_variance", torch.empty(width))
        self.register_buffer("_held_C", None, persistent=False)
        self.reset_parameters()

    def hold(self, columns_C: Tensor) -> None:
        """Let these columns (bool) take the running statistics in training, too, and leave them."""
        self._held_C = columns_C

    def reset_parameters(self) -> None:
        """Back to the identity: statistics and parameters of 0 and 1."""
        for zeros, ones in (
            (self.bias, self.weight),
            (self.running_mean, self.running_variance),
        ):
            nn.init.zeros_(zeros)
            nn.init.ones_(ones)

    def forward(self, x_BC: Tensor) -> Tensor:
        """(B, C) to (B, C)."""
        exact_BC = x_BC.to(self.weight.dtype)
        if not self.training or x_BC.shape[0] < 2:
            return self._normalised(
                exact_BC, self.running_mean, self.running_variance, of_batch=False
            ).to(x_BC.dtype)
        mean_C, variance_C = self.running_mean.clone(), self.running_variance.clone()
        y_BC = self._normalised(exact_BC, mean_C, variance_C, of_batch=True)
        self._keep(mean_C, variance_C)
        if self._held_C is not None:
            held_BC = self._normalised(
                exact_BC, self.running_mean, self.running_variance, of_batch=False
            )
            y_BC = torch.where(self._held_C, held_BC, y_BC)
        return y_BC.to(x_BC.dtype)

    def _normalised(
        self, x_BC: Tensor, mean_C: Tensor, variance_C: Tensor, *, of_batch: bool
    ) -> Tensor:
        """By the statistics of the batch, which then move those given; or by those given."""
        return F.batch_norm(
            x_BC,
            mean_C,
            variance_C,
            self.weight,
            self.bias,
            training=of_batch,
            momentum=MOMENTUM,
            eps=EPSILON,
        )

    @torch.no_grad()
    def _keep(self, mean_C: Tensor, variance_C: Tensor) -> None:
        finite_C = mean_C.isfinite() & variance_C.isfinite()
        if self._held_C is not None:
            finite_C &= ~self._held_C
        self.running_mean.copy_(torch.where(finite_C, mean_C, self.running_mean))
        self.running_variance.copy_(torch.where(finite_C, variance_C, self.running_variance))
