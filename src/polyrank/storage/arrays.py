"""Named NumPy arrays as safetensors, without a second copy of the data in memory.

The format: 8 bytes of header length (little endian), a JSON header, the raw data. Any safetensors
library reads what is written here.

>>> import numpy as np
>>> data = save_arrays({"bias": np.zeros(3, dtype=np.float32)})
>>> load_arrays(data, where="weights.safetensors")["bias"]
array([0., 0., 0.], dtype=float32)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from polyrank.errors import ArtefactError, DivergedError
from polyrank.storage import jsonio
from polyrank.storage.content import HEAD_BYTES, MAX_ARRAYS_HEADER_BYTES, refuse_loadable
from polyrank.storage.jsonio import JsonValue

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MAX_TENSORS = 10_000
MAX_DIMENSIONS = 32
MAX_ELEMENTS = 1 << 48

_NUMPY_NAMES = {
    "F64": "<f8",
    "I64": "<i8",
    "U64": "<u8",
    "F32": "<f4",
    "I32": "<i4",
    "U32": "<u4",
    "F16": "<f2",
    "I16": "<i2",
    "U16": "<u2",
    "BOOL": "|b1",
    "I8": "|i1",
    "U8": "|u1",
}
_NAMES = {numpy_name: name for name, numpy_name in _NUMPY_NAMES.items()}
_METADATA = "__metadata__"
_HINT = "the file is damaged or not safetensors: restore it from where it was made"


def save_arrays(arrays: Mapping[str, Array], *, finite: bool = False) -> bytes:
    """The arrays as the bytes of one safetensors file; the same arrays give the same bytes.

    Args:
        arrays: Name to array of any shape (0-d and empty too) of float16 to float64, 8- to 64-bit
            integers or bool.
        finite: Refuse NaN and infinity.

    Raises:
        ArtefactError: A dtype that safetensors does not have, or beyond a limit of ``load_arrays``.
        DivergedError: A value is not finite and ``finite`` is set; the array is named.
    """
    header, ordered = _plan(arrays, finite)
    return b"".join([header, *map(_raw, ordered)])


def arrays_writer(arrays: Mapping[str, Array], *, finite: bool = False) -> Callable[[Path], None]:
    """As ``save_arrays``, but a function that writes the file and copies nothing; checks at once.

    Give it to ``commit_directory`` for large arrays. They must not change until it was called.
    """
    header, ordered = _plan(arrays, finite)

    def write(path: Path) -> None:
        with path.open("xb") as file:
            file.write(header)
            for array in ordered:
                file.write(_raw(array))

    return write


def load_arrays(
    data: bytes | bytearray | memoryview, *, where: str, finite: bool = False
) -> dict[str, Array]:
    """The arrays in the bytes of a safetensors file, as views of these bytes.

    Everything is checked before the first array is made: a header of at most 1 MiB, at most 10,000
    tensors of at most 32 dimensions, known dtypes, and data that fills the file exactly, without
    gap or overlap. The arrays can be written to if ``data`` can.

    Raises:
        ArtefactError: With the file and the tensor; also for NaN or infinity if ``finite`` is set.
    """
    import numpy as np

    raw = np.frombuffer(data, dtype=np.uint8)
    header, start = _read_header(memoryview(data), where)
    spans = sorted(_span(name, spec, where) for name, spec in header.items())
    _check_spans(spans, len(raw) - start, where)
    found: dict[str, Array] = {}
    for begin, end, name, dtype, shape in spans:
        values = raw[start + begin : start + end]
        if dtype == _NUMPY_NAMES["BOOL"] and bool((values > 1).any()):
            raise _refused(f"tensor {name!a} holds a bool that is neither 0 nor 1", where)
        found[name] = values.view(dtype).reshape(shape)
        if finite and (count := _count_not_finite(found[name])):
            raise _refused(f"tensor {name!a} holds {count} values that are not finite", where)
    return {name: found[name] for name in sorted(found)}


_Span: TypeAlias = tuple[int, int, str, str, tuple[int, ...]]


def _plan(arrays: Mapping[str, Array], finite: bool) -> tuple[bytes, list[Array]]:
    import numpy as np

    plain = {
        name: np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        for name, array in arrays.items()
    }
    for name, array in plain.items():
        if finite and (count := _count_not_finite(array)):
            raise DivergedError(
                f"{count} of {array.size} values are not finite",
                where=name,
                hint="nothing was written: lower the learning rate or go back to a checkpoint",
            )
    order = sorted(plain, key=lambda name: (-plain[name].itemsize, name))
    header: dict[str, object] = {}
    end = 0
    for name in order:
        begin, end = end, end + plain[name].nbytes
        header[name] = {
            "dtype": _dtype_name(plain[name], name),
            "shape": list(plain[name].shape),
            "data_offsets": [begin, end],
        }
    return _render_header(header), [plain[name] for name in order]


def _render_header(header: dict[str, object]) -> bytes:
    import json

    jsonio.dumps(dict.fromkeys(header))  # Only a name can be wrong.
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(header) > MAX_TENSORS or len(text) > MAX_ARRAYS_HEADER_BYTES or _METADATA in header:
        raise ArtefactError(
            f"{len(header)} arrays with {len(text)} bytes of names and shapes; allowed are "
            f"{MAX_TENSORS} with {MAX_ARRAYS_HEADER_BYTES}, and none named {_METADATA!r}",
            hint="split the arrays over several files or join small ones",
        )
    return len(text).to_bytes(8, "little") + text


def _dtype_name(array: Array, name: str) -> str:
    known = _NAMES.get(array.dtype.str)
    if known is None or array.ndim > MAX_DIMENSIONS:
        raise ArtefactError(
            f"dtype {array.dtype} in {array.ndim} dimensions is not one of "
            f"{', '.join(_NUMPY_NAMES)} in at most {MAX_DIMENSIONS}",
            where=name,
            hint="cast or reshape the array; text belongs in JSON",
        )
    return known


def _raw(array: Array) -> memoryview:
    return array.reshape(-1).view("u1").data


def _count_not_finite(array: Array) -> int:
    import numpy as np

    if array.dtype.kind != "f" or array.size == 0:
        return 0
    with np.errstate(invalid="ignore"):
        if np.isfinite(array.min()) and np.isfinite(array.max()):
            return 0
    return int(array.size - np.count_nonzero(np.isfinite(array)))


def _read_header(view: memoryview, where: str) -> tuple[dict[str, JsonValue], int]:
    refuse_loadable(bytes(view[:HEAD_BYTES]), where=where)
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > min(len(view) - 8, MAX_ARRAYS_HEADER_BYTES):
        raise _refused(
            f"{len(view)} bytes with a header of {length}, at most {MAX_ARRAYS_HEADER_BYTES} "
            "and no more than there is are allowed",
            where,
        )
    header = jsonio.loads(bytes(view[8 : 8 + length]), where=where)
    if not isinstance(header, dict):
        raise _refused("the header must be an object", where)
    metadata = header.pop(_METADATA, {})
    if len(header) > MAX_TENSORS:
        raise _refused(f"{len(header)} tensors, at most {MAX_TENSORS} are allowed", where)
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _refused(f"{_METADATA} must map text to text", where)
    return header, 8 + length


def _span(name: str, spec: JsonValue, where: str) -> _Span:
    """First and last byte, name, NumPy dtype and shape of one tensor, each checked by itself."""
    if not isinstance(spec, dict) or spec.keys() != {"dtype", "shape", "data_offsets"}:
        raise _refused(f"tensor {name!a} must have dtype, shape and data_offsets", where)
    dtype = _NUMPY_NAMES.get(str(spec["dtype"]))
    if dtype is None:
        raise _refused(f"tensor {name!a} has unknown dtype {ascii(spec['dtype'])[:80]}", where)
    shape = _integers(spec["shape"], name, where)
    offsets = _integers(spec["data_offsets"], name, where)
    if len(shape) > MAX_DIMENSIONS or math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise _refused(f"tensor {name!a} has shape {ascii(shape)[:80]}: too large", where)
    size = math.prod(shape) * int(dtype[2:])
    if len(offsets) != 2 or offsets[1] - offsets[0] != size:
        raise _refused(
            f"tensor {name!a} needs {size} bytes, its offsets are {ascii(offsets)[:80]}", where
        )
    return offsets[0], offsets[1], name, dtype, shape


def _integers(value: JsonValue, name: str, where: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise _refused(f"tensor {name!a}: {ascii(value)[:80]} is not a list", where)
    found = tuple(v for v in value if isinstance(v, int) and not isinstance(v, bool) and v >= 0)
    if len(found) != len(value):
        raise _refused(f"tensor {name!a}: {ascii(value)[:80]} must be integers from 0", where)
    return found


def _check_spans(spans: list[_Span], size: int, where: str) -> None:
    """Refuses gaps, overlaps, and bytes that no tensor owns."""
    end = 0
    for begin, next_end, name, _, _ in spans:
        if begin != end:
            raise _refused(f"tensor {name!a} starts at {begin}, not at {end}", where)
        end = next_end
    if end != size:
        raise _refused(f"the tensors take {end} bytes, the file has {size} for them", where)


def _refused(reason: str, where: str) -> ArtefactError:
    return ArtefactError(reason, where=where, hint=_HINT)
