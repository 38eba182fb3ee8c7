"""A model's place in a Triton model repository."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank.scoring.export.network import Inputs

_TYPES = {"int64": "TYPE_INT64", "float32": "TYPE_FP32"}


def config_text(name: str, inputs: Inputs, tasks: Sequence[str]) -> str:
    """Its ``config.pbtxt``: ONNX Runtime on the CPU, every first dimension free, no batching by
    Triton, since the rows of a request are the batch.

    Args:
        name: Of the model, and of its folder.
        inputs: What it reads.
        tasks: What it gives.
    """
    given = [
        (each.name, _TYPES[each.dtype], [-1] if each.width is None else [-1, each.width])
        for each in inputs.each
    ]
    found = [(task, "TYPE_FP64", [-1]) for task in tasks]
    return "\n".join(
        [
            f'name: "{name}"',
            'backend: "onnxruntime"',
            "max_batch_size: 0",
            *_tensors("input", given),
            *_tensors("output", found),
            "instance_group [ { kind: KIND_CPU } ]",
            "",
        ]
    )


def _tensors(what: str, each: Sequence[tuple[str, str, Sequence[int]]]) -> list[str]:
    lines = [
        f'  {{ name: "{name}" data_type: {kind} dims: [ {", ".join(map(str, dims))} ] }}'
        for name, kind, dims in each
    ]
    return [f"{what} [", ",\n".join(lines), "]"]
