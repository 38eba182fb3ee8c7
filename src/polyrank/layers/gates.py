"""Gates: how much each mixture takes from each expert.

Shapes: B rows, D width of the input, T gates, E experts, G = T * E rounded up to a multiple of 16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyrank.errors import ConfigError
from polyrank.layers.checks import positive, share
from polyrank.layers.padding import padded_width


class Gates(nn.Module):
    """g_k(x) = softmax(W_k x) for every gate k at once (Ma et al., MMoE, KDD 2018, section 4.2).

    All gates are one product; the softmax is in float32. With ``dropout`` each weight is set to
    zero with that probability in training, for each row, gate and expert on its own, and the others
    are renormalised to sum to one (Zhao et al., RecSys 2019, against gates that settle on one
    expert); where all would be dropped, all are kept.

    Args:
        in_width: Width D of the input.
        names: Name of each gate (a task, or a group of them), each once.
        num_experts: Experts each gate chooses from.
        dropout: Probability in [0, 1) of dropping an expert; 0.1 in the paper.
        temperature: Divides the logits; above 1 evens the gates out.

    Raises:
        ConfigError: No name, a name given twice, or a value outside its range.
    """

    def __init__(
        self,
        in_width: int,
        names: Sequence[str],
        num_experts: int,
        *,
        dropout: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"`names` must hold at least one name, each once, got {list(names)}")
        if not temperature > 0.0:
            raise ConfigError(f"`temperature` must be above 0, got {temperature}")
        self.names = tuple(names)
        self.num_experts = positive("num_experts", num_experts)
        self.dropout = share("dropout", dropout)
        self.temperature = temperature
        rows = len(self.names) * num_experts
        self.weight = nn.Parameter(torch.empty(rows, positive("in_width", in_width)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights again: N(0, 1 / fan_in), so that the gates start apart but soft."""
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """The weights of the experts by gate: (B, E) each, at least 0, summing to one a row."""
        logits_BTE = self._logits(x_BD)
        if self.training and self.dropout > 0.0:
            logits_BTE = _drop(logits_BTE, self.dropout)
        gates_BTE = torch.softmax(logits_BTE, dim=-1)
        return dict(zip(self.names, gates_BTE.unbind(1), strict=True))

    def _logits(self, x_BD: Tensor) -> Tensor:
        rows = self.weight.shape[0]
        # Whole blocks of columns: bits that do not depend on the batch.
        weight_GD = F.pad(self.weight, (0, 0, 0, padded_width(rows) - rows))
        logits_BG = F.linear(x_BD, weight_GD)
        logits_BG = logits_BG[:, :rows].to(self.weight.dtype) / self.temperature
        return logits_BG.view(-1, len(self.names), self.num_experts)


def _drop(logits_BTE: Tensor, dropout: float) -> Tensor:
    keep_BTE = torch.rand_like(logits_BTE) >= dropout
    keep_BTE = keep_BTE | ~keep_BTE.any(dim=-1, keepdim=True)
    return logits_BTE.masked_fill(~keep_BTE, float("-inf"))
