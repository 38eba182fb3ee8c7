"""The network compiled for this machine's processor; needs a C++ compiler.

Shapes: N rows, R users, L logits of an output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.data import Batch
from polyrank.layers import ROW_MULTIPLE
from polyrank.model import RankingModel
from polyrank.scoring.engines.base import Predictions, UserRows
from polyrank.scoring.engines.eager import pad
from polyrank.scoring.engines.reading import Reading
from polyrank.scoring.export.network import Inputs, tensors_of


class CompiledEngine:
    """AOTInductor's kernels; what heads make of its logits, in torch.

    Rows and users are padded to a multiple of ``ROW_MULTIPLE``, so that a row's bits do not depend
    on the others. The package is compiled when the engine is made, which takes a minute, and never
    loaded from elsewhere, since it is machine code.

    Args:
        model: Trained.
        inputs: Of its layout.
        precision: ``fp32`` or, for the products, ``bf16``.

    Raises:
        ConfigError: There is no compiler, or it fails.
    """

    name = "compiled"

    def __init__(self, model: RankingModel, inputs: Inputs, *, precision: str = "fp32") -> None:
        from torch._inductor import aoti_load_package

        from polyrank.scoring.export.compiled import compile_program, require_compiler
        from polyrank.scoring.export.program import program_of

        require_compiler()
        self.precision = precision
        self._model, self._inputs = model, inputs
        program = program_of(model, inputs, "logits", half=precision == "bf16")
        self._outputs = program.outputs
        with tempfile.TemporaryDirectory() as home:
            package = Path(home) / "model.pt2"
            compile_program(program, package)
            self._run = aoti_load_package(str(package))
        self._reading = Reading(model, inputs)

    def predict(
        self, batch: Batch, *, users: UserRows | None = None, further: bool = False
    ) -> Predictions:
        """As ``Engine.predict``."""
        return self._reading.predict(self._logits, batch, users, further=further)

    def _logits(self, batch: Batch, users: UserRows | None) -> Mapping[str, NDArray[np.float32]]:
        if users is None:
            users = UserRows(batch=batch, row_N=torch.arange(len(batch)))
        row_N = users.row_N
        padded = UserRows(
            batch=pad(users.batch, ROW_MULTIPLE),
            row_N=torch.cat([row_N, row_N.new_zeros(-len(row_N) % ROW_MULTIPLE)]),
        )
        given = tensors_of(self._model, self._inputs, pad(batch, ROW_MULTIPLE), padded)
        with torch.inference_mode():
            found: Mapping[str, Tensor] = self._run(dict(given))
        return {name: found[name][: len(batch)].float().numpy() for name in self._outputs}
