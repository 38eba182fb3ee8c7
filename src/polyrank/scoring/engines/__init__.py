"""What computes predictions, behind one face: eager torch, ONNX Runtime, compiled torch.

>>> from polyrank.scoring.engines import TorchEngine
>>> TorchEngine.name, TorchEngine.precision
('eager', 'fp32')
"""

from polyrank.scoring.engines.base import Engine, Predictions, UserRows
from polyrank.scoring.engines.eager import BLOCK_ROWS, TorchEngine

__all__ = ["BLOCK_ROWS", "Engine", "Predictions", "TorchEngine", "UserRows"]
