"""Two regression tasks with a chosen correlation (Ma et al., MMoE, KDD 2018, section 3.2).

Shapes: N rows, D inputs, M sines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

NOISE = 0.1
"""Standard deviation: the paper's N(0, 0.01), read as a variance."""


@dataclass(frozen=True)
class TaskPair:
    """y_k = w_k x + sum_i sin(alpha_i w_k x + beta_i) + noise, with cos(w_1, w_2) = p.

    The constants are PLE's (Tang et al., RecSys 2020, section 5.3): alpha_i and beta_i from
    N(0, 1), ten sines, c = 1.
    """

    weight_2D: Tensor
    alpha_M: Tensor
    beta_M: Tensor

    @classmethod
    def draw(
        cls, correlation: float, seed: int, num_inputs: int = 100, num_sines: int = 10
    ) -> Self:
        """A new pair; the same seed gives the same pair but for the angle between its weights."""
        random = torch.Generator().manual_seed(seed)
        basis_D2, _ = torch.linalg.qr(torch.randn(num_inputs, 2, generator=random))
        first_D, second_D = basis_D2.unbind(1)
        turned_D = correlation * first_D + (1 - correlation**2) ** 0.5 * second_D
        return cls(
            weight_2D=torch.stack([first_D, turned_D]),
            alpha_M=torch.randn(num_sines, generator=random),
            beta_M=torch.randn(num_sines, generator=random),
        )

    def rows(self, num_rows: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs (N, D) from N(0, I) and labels (N, 2)."""
        x_ND = torch.randn(num_rows, self.weight_2D.shape[1], generator=random)
        linear_N2 = x_ND @ self.weight_2D.t()
        waves_N2 = torch.sin(linear_N2[..., None] * self.alpha_M + self.beta_M).sum(-1)
        noise_N2 = NOISE * torch.randn(num_rows, 2, generator=random)
        return x_ND, linear_N2 + waves_N2 + noise_N2
