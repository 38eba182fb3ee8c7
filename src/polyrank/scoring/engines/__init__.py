"""What computes predictions, behind one face: eager torch, ONNX Runtime, compiled torch.

>>> from polyrank.scoring.engines import TorchEngine
>>> TorchEngine.name, TorchEngine.precision
('eager', 'fp32')
"""

from polyrank.scoring.engines.base import Engine, Predictions, UserRows
from polyrank.scoring.engines.choosing import EngineName, Precision, choose
from polyrank.scoring.engines.compiled import CompiledEngine
from polyrank.scoring.engines.eager import BLOCK_ROWS, TorchEngine
from polyrank.scoring.engines.failures import EngineError
from polyrank.scoring.engines.onnx import OnnxEngine

__all__ = [
    "BLOCK_ROWS",
    "CompiledEngine",
    "Engine",
    "EngineError",
    "EngineName",
    "OnnxEngine",
    "Precision",
    "Predictions",
    "TorchEngine",
    "UserRows",
    "choose",
]
