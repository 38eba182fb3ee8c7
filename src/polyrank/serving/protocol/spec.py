"""What a model takes and gives: tensors with a name, a datatype and a shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
"""What a model or version may be called; use ``fullmatch``. It is also a safe name of a file."""

WIRE: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype("?"),
        "INT8": np.dtype("<i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "UINT8": np.dtype("<u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        "BYTES": np.dtype("O"),
    }
)
"""The protocol's datatypes as they lie in a binary body; of BYTES, what is made of them."""


def valid_name(name: str) -> bool:
    """Whether a model or version may be called so: 1 to 64 of ``A-Za-z0-9_.-``, no dot in front.

    >>> valid_name("feed-2.1"), valid_name("../etc"), valid_name("feed\\n")
    (True, False, False)
    """
    return NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a model takes or gives.

    Args:
        name: As in the protocol.
        datatype: One of ``WIRE``.
        shape: Of each dimension its size (at least 1), -1 (any size from 1), or a name. A named
            dimension has one size in all tensors of a request and its answer, 0 allowed.
        optional: Of an input: a request may leave it out.
    """

    name: str
    datatype: str
    shape: tuple[int | str, ...]
    optional: bool = False

    def __post_init__(self) -> None:
        assert self.datatype in WIRE, self.datatype
        assert all(isinstance(d, str) or d == -1 or d > 0 for d in self.shape), self.shape

    @property
    def declared(self) -> list[int]:
        """The shape as metadata says it: -1 where the size varies."""
        return [-1 if isinstance(size, str) else size for size in self.shape]


@dataclass(frozen=True)
class ModelSpec:
    """What a model is called, takes and gives.

    Args:
        name: See ``valid_name``.
        platform: What runs it, for metadata.
        inputs: In any order; names differ.
        outputs: In the order of an answer that was asked for nothing in particular.
        properties: Further facts, for metadata.
    """

    name: str
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert valid_name(self.name), self.name
        assert len(self.input_by_name) == len(self.inputs), "an input twice"
        assert len(self.output_by_name) == len(self.outputs), "an output twice"

    @cached_property
    def input_by_name(self) -> dict[str, TensorSpec]:
        """The inputs by name."""
        return {spec.name: spec for spec in self.inputs}

    @cached_property
    def output_by_name(self) -> dict[str, TensorSpec]:
        """The outputs by name."""
        return {spec.name: spec for spec in self.outputs}
