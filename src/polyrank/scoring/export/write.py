"""Exporting a bundle's network for other runtimes: checked against eager fp32, then written whole.

What is written predicts before calibration; calibration and the value model stay with polyrank.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyrank.bundle import Bundle
from polyrank.data import Batch
from polyrank.errors import ArtefactError
from polyrank.scoring.engines.choosing import EngineName, Precision, check_precision
from polyrank.scoring.engines.eager import TorchEngine
from polyrank.scoring.engines.onnx import session_of
from polyrank.scoring.export.compiled import compiled_predictions, write_package
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.network import Input, Inputs
from polyrank.scoring.export.onnx_content import onnx_content
from polyrank.scoring.export.parity import Parity, compare_predictions
from polyrank.scoring.export.program import program_of
from polyrank.scoring.export.triton import config_text
from polyrank.storage import commit_directory, jsonio
from polyrank.storage.commit import FileSource

Format = Literal["onnx", "pt2", "triton"]
TOLERANCE = 1e-5
"""Of a fp32 network, relative to the largest prediction of a task or 1; how far one of less
precision is off, its report says."""
ENGINES: dict[Format, EngineName] = {"onnx": "onnx", "triton": "onnx", "pt2": "compiled"}
"""Whose precisions a format has."""
KIND, FORMAT_VERSION = "export", 1


def export_bundle(
    bundle: Bundle,
    out: Path,
    format: Format,  # noqa: A002
    rows: Batch,
    *,
    on: str,
    name: str = "polyrank",
    precision: Precision = "fp32",
    replace: bool = False,
) -> Parity:
    """Write the network, what its inputs are, and how close it comes.

    Args:
        bundle: Saved or not.
        out: The folder to make.
        format: ``onnx``: model.onnx, inputs.json and parity.json. ``triton``: a model repository
            with one model of that file. ``pt2``: model.pt2, compiled for this machine's processor.
        rows: To compare on, at least one.
        on: Which rows these are.
        name: Of the model in a Triton repository.
        precision: As of the engine ``onnx`` or, of a package, ``compiled``: one that an engine has
            is one that its file can have. Ranges of int8 are fixed by the rows that engines fix
            them by, not by ``rows``.
        replace: Replace what an export wrote there before.

    Returns:
        The comparison.

    Raises:
        ConfigError: The network cannot be exported, there is no such precision, or a package or
            compiler is missing.
        ArtefactError: In fp32 it does not predict what the bundle predicts; or nothing finite.
        StorageError: The disk refused.
    """
    check_precision(ENGINES[format], precision)
    inputs = inputs_of(bundle)
    reference = TorchEngine(bundle.model).predict(rows)
    if format == "pt2":
        return _export_package(bundle, inputs, out, rows, reference, on, precision, replace)
    content = onnx_content(bundle, inputs, precision)
    found = _run(content, inputs, rows, list(reference))
    parity = compare_predictions(reference, found, on=on, engine="onnx", precision=precision)
    _refuse(parity)
    files: dict[str, FileSource] = {
        "inputs.json": jsonio.dumps(describe(bundle, inputs)),
        "parity.json": parity.to_json(),
    }
    if format == "triton":
        files = {f"{name}/{file}": source for file, source in files.items()}
        files[f"{name}/1/model.onnx"] = content
        files[f"{name}/config.pbtxt"] = config_text(name, inputs, list(reference)).encode()
    else:
        files["model.onnx"] = content
    commit_directory(
        out,
        files,
        kind=KIND,
        format_version=FORMAT_VERSION,
        extra={"bundle": bundle.version, "format": format, "precision": precision},
        replace=replace,
    )
    return parity


def describe(bundle: Bundle, inputs: Inputs) -> dict[str, jsonio.JsonValue]:
    """What goes in and what comes out, for whoever calls the file."""
    told = {
        "users": "one row a user",
        "rows": "one row a candidate",
        "entries": "the entries of all rows of a list, in row order",
    }

    def one(each: Input) -> jsonio.JsonValue:
        return {
            "name": each.name,
            "dtype": each.dtype,
            "counts": told[each.counts],
            "columns": list(each.columns),
        }

    return {
        "bundle": bundle.version,
        "user_row": "which row of the users' tensors each candidate reads",
        "ids": "rows of the embedding table, as the bundle's encoders give them",
        "inputs": [one(each) for each in inputs.each],
        "outputs": [
            {"name": task, "dtype": "float64", "is": "the prediction before calibration"}
            for task in bundle.schema.task_names
        ],
    }


def _run(
    content: bytes, inputs: Inputs, rows: Batch, tasks: list[str]
) -> Mapping[str, NDArray[np.float64]]:
    """The file's predictions, in plain ONNX Runtime."""
    session = session_of(content, threads=None)
    given = inputs.of(rows, None)
    feed = {each.name: given[each.name].numpy() for each in session.get_inputs()}
    return dict(zip(tasks, session.run(tasks, feed), strict=True))


def _export_package(
    bundle: Bundle,
    inputs: Inputs,
    out: Path,
    rows: Batch,
    reference: Mapping[str, NDArray[np.float64]],
    on: str,
    precision: Precision,
    replace: bool,
) -> Parity:
    program = program_of(bundle.model, inputs, "predictions", half=precision == "bf16")

    def check(package: Path) -> Parity:
        found = compiled_predictions(package, program, inputs, rows)
        parity = compare_predictions(
            reference, found, on=on, engine="compiled", precision=precision
        )
        _refuse(parity)
        return parity

    return write_package(program, out, describe(bundle, inputs), check, replace=replace)


def _refuse(parity: Parity) -> None:
    if not np.isfinite(parity.worst):
        raise ArtefactError(
            f"the exported network predicts what is not finite, or the bundle does, on {parity.on}",
            hint="Export it in fp32, on other rows.",
        )
    if parity.precision == "fp32" and parity.worst > TOLERANCE:
        raise ArtefactError(
            f"the exported network differs by {parity.worst:.3g} of its predictions on "
            f"{parity.on}, and may by {TOLERANCE:g}",
            hint="Please report this with the bundle's model.json; score with --engine eager.",
        )
