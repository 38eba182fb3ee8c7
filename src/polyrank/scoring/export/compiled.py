"""An exported program compiled for this machine's processor by AOTInductor (needs a C++ compiler).

Shapes: N rows.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from polyrank.data import Batch
from polyrank.errors import ConfigError, StorageError
from polyrank.scoring.engines.base import UserRows
from polyrank.scoring.export.network import Inputs
from polyrank.scoring.export.parity import Parity
from polyrank.scoring.export.program import Program
from polyrank.storage import jsonio
from polyrank.storage.targets import check_folder

FILES = ("inputs.json", "parity.json", "model.pt2")


def require_compiler() -> None:
    """Refuse a machine without a C++ compiler.

    Raises:
        ConfigError: There is none.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
        raise ConfigError(
            "compiling needs a C++ compiler, and neither g++ nor clang++ is found",
            hint="Install one, or use ONNX.",
        )


def compile_program(program: Program, package: Path) -> None:
    """Write the package, compiled for this processor.

    Raises:
        ConfigError: There is no compiler, or it fails.
    """
    require_compiler()
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import InductorError

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # what torch says of its own code
            aoti_compile_and_package(program.program, package_path=str(package))
    except (InductorError, RuntimeError) as error:
        raise ConfigError(
            f"this network cannot be compiled: {str(error).strip().splitlines()[0]}",
            where="model",
            hint="Export it as onnx.",
        ) from error


def compiled_predictions(
    package: Path, program: Program, inputs: Inputs, rows: Batch
) -> Mapping[str, NDArray[np.float64]]:
    """What the package predicts."""
    from torch._inductor import aoti_load_package

    loaded = aoti_load_package(str(package))
    users = UserRows(batch=rows, row_N=torch.arange(len(rows)))
    found = loaded(dict(inputs.of(rows, users)))
    return {name: found[name].numpy() for name in program.outputs}


def write_package(
    program: Program,
    out: Path,
    described: jsonio.JsonValue,
    check: Callable[[Path], Parity],
    *,
    replace: bool,
) -> Parity:
    """The package with its description in a folder that gets its name last.

    It is no artefact of ours, since it holds machine code: polyrank writes such files and never
    loads one that it did not make itself.

    Raises:
        ConfigError: ``out`` is there and not to be replaced, or is no such folder.
        StorageError: The disk refused.
    """
    check_folder(out, FILES, what="a compiled package", replace=replace)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".tmp-{out.name}-", dir=out.parent) as home:
            draft = Path(home) / out.name
            draft.mkdir()
            compile_program(program, draft / "model.pt2")
            parity = check(draft / "model.pt2")
            (draft / "inputs.json").write_bytes(jsonio.dumps(described))
            (draft / "parity.json").write_bytes(parity.to_json())
            if out.exists():
                shutil.rmtree(out)
            draft.rename(out)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror or error}", where=out.name
        ) from error
    return parity
