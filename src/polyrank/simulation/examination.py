"""Examination: who looks at a position at all (position-based model, Craswell et al., WSDM 2008).

K: positions of a request.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def examination_curve(num_positions: int, power: float, floor: float) -> npt.NDArray[np.float64]:
    """P(examined | position) for positions 1 to ``num_positions``: shape (K,), the first is 1.

    Args:
        num_positions: K, at least 1.
        power: Decay, at least 0: ``position ** -power``.
        floor: Share in [0, 1] that looks everywhere: floor + (1 - floor) * position ** -power.
    """
    position_K = np.arange(1, num_positions + 1, dtype=np.float64)
    return np.asarray(floor + (1.0 - floor) * position_K**-power)
