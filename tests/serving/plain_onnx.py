"""Run as a script: an exported file in plain ONNX Runtime, where neither polyrank nor torch is."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime  # type: ignore[import-untyped]


def main(model: str, given: str, answers: str) -> None:
    """Answer every case of ``given``, whose arrays are called "<case>/<input>"."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = [each.name for each in session.get_outputs()]
    wanted = [each.name for each in session.get_inputs()]
    found = {}
    with np.load(given, allow_pickle=False) as arrays:
        for case in sorted({name.split("/")[0] for name in arrays}):
            feed = {name: arrays[f"{case}/{name}"] for name in wanted}
            for name, value in zip(outputs, session.run(outputs, feed), strict=True):
                found[f"{case}/{name}"] = value
    np.savez(answers, **found)


if __name__ == "__main__":
    sys.modules.update({"polyrank": None, "torch": None})  # type: ignore[dict-item]
    main(*sys.argv[1:])
