"""Arrays as safetensors: against the safetensors library, and against hostile headers."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyrank.errors import ArtefactError, DivergedError
from polyrank.storage import arrays_writer, load_arrays, save_arrays

DTYPES = ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"]
ARRAYS = st.dictionaries(
    st.text("ab./\u00e9", min_size=1, max_size=6),
    st.sampled_from([np.dtype(name) for name in DTYPES]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    max_size=5,
)


def _same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape)
        assert array.tobytes() == right[name].tobytes()


@given(ARRAYS)
def test_round_trip_bit_for_bit_and_the_library_agrees(arrays: dict[str, Any]) -> None:
    data = save_arrays(arrays)
    assert int.from_bytes(data[:8], "little") % 8 == 0, "the data must be aligned"
    _same(load_arrays(data, where="x"), arrays)
    if arrays:
        _same(safetensors.numpy.load(data), arrays)
        _same(load_arrays(safetensors.numpy.save(arrays), where="x"), arrays)


@given(arrays=ARRAYS)
@settings(max_examples=20)
def test_the_writer_writes_the_same_bytes(arrays: dict[str, Any], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("writer") / "a.safetensors"
    arrays_writer(arrays)(path)
    assert path.read_bytes() == save_arrays(arrays)
    assert path.read_bytes() == save_arrays(dict(reversed(arrays.items())))


def test_the_writer_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        arrays_writer({"x": np.zeros(1)})(tmp_path / "a")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(12, dtype=np.int64)[::-2],
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.uint16).reshape(2, 3)),
        np.array(3.5),
        np.zeros((2, 0, 3), dtype=np.float16),
    ],
)
def test_strides_and_byte_order_do_not_matter(array: Any) -> None:
    found = load_arrays(save_arrays({"x": array}), where="x")["x"]
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("<")


def test_the_arrays_are_views_that_can_be_written_if_the_buffer_can() -> None:
    data = save_arrays({"x": np.zeros(2), "y": np.zeros(3, dtype=np.uint8)})
    assert not load_arrays(data, where="x")["x"].flags.writeable
    buffer = bytearray(data)
    found = load_arrays(buffer, where="x")
    found["x"][:] = 1.0
    assert bytes(buffer) == save_arrays({"x": np.ones(2), "y": np.zeros(3, dtype=np.uint8)})


def test_neither_writing_nor_loading_copies_the_data(tmp_path: Path) -> None:
    array = np.ones(4 << 20, dtype=np.float32)
    content = bytearray(save_arrays({"x": array}))
    tracemalloc.start()
    arrays_writer({"x": array}, finite=True)(tmp_path / "a")
    load_arrays(content, where="x", finite=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_value_that_is_not_finite_is_refused_where_asked(value: float, dtype: Any) -> None:
    bad = np.ones((3, 2), dtype=dtype)
    bad[1, 1] = value
    arrays = {"good": np.ones(2), "tower.weight": bad, "count": np.ones(2, dtype=np.int32)}
    with pytest.raises(DivergedError) as caught:
        save_arrays(arrays, finite=True)
    assert caught.value.where == "tower.weight"
    assert "1 of 6 values" in caught.value.message
    assert caught.value.exit_code == 5
    with pytest.raises(DivergedError):
        arrays_writer(arrays, finite=True)
    data = save_arrays(arrays)
    np.testing.assert_array_equal(load_arrays(data, where="x")["tower.weight"], bad)
    with pytest.raises(ArtefactError, match=r"'tower\.weight' holds 1 values that are not finite"):
        load_arrays(data, where="x", finite=True)


def test_finite_arrays_pass_the_check() -> None:
    arrays: dict[str, Any] = {
        "x": np.array([np.finfo(np.float32).max, -np.finfo(np.float32).max], dtype=np.float32),
        "empty": np.zeros((0, 3)),
        "tiny": np.array([5e-324, -0.0]),
    }
    _same(load_arrays(save_arrays(arrays, finite=True), where="x", finite=True), arrays)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, dtype=np.complex64),
        np.zeros(2, dtype="M8[s]"),
        np.zeros(2, dtype=np.longdouble),
        np.zeros(2, dtype=[("a", "f4")]),
    ],
)
def test_a_dtype_that_the_format_does_not_have_is_refused(array: Any) -> None:
    with pytest.raises(ArtefactError, match=r"names: dtype .* is not one of F64"):
        save_arrays({"names": array})


def test_more_than_can_be_read_is_not_written() -> None:
    empty = np.zeros(0)
    with pytest.raises(ArtefactError, match="10001 arrays"):
        save_arrays({str(number): empty for number in range(10_001)})
    with pytest.raises(ArtefactError, match="bytes of names"):
        save_arrays({"n" * (1 << 20): empty})
    with pytest.raises(ArtefactError, match="__metadata__"):
        save_arrays({"__metadata__": empty})
    with pytest.raises(ArtefactError, match="33 dim"):
        save_arrays({"x": np.zeros((1,) * 33)})
    assert (
        len(load_arrays(save_arrays({str(n): empty for n in range(10_000)}), where="x")) == 10_000
    )


def _file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _tensor(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


HOSTILE = {
    "nothing": b"",
    "seven bytes": b"\x08\0\0\0\0\0\0",
    "header beyond the file": _file(b"{}", length=3),
    "header of 2^63": _file(b"{}", length=2**63),
    "header of 1 MiB and one": _file(b"{" + b" " * (1 << 20) + b"}"),
    "header that is a list": _file([1]),
    "header that is not JSON": _file(b"{nope}"),
    "header of deep nesting": _file(b'{"a":' + b"[" * 50_000),
    "duplicate tensor": _file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"\0\0\0\0",
    ),
    "NaN in the header": _file(b'{"__metadata__":NaN}'),
    "metadata that is no object": _file({"__metadata__": 1}),
    "metadata that is not text": _file({"__metadata__": {"a": 1}}),
    "tensor that is no object": _file({"a": 1}),
    "missing key": _file({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "unknown key": _file({"a": {**dict(_tensor()), "x": 1}}, bytes(4)),  # type: ignore[call-overload]
    "unknown dtype": _file({"a": _tensor("F31")}, bytes(4)),
    "bfloat16": _file({"a": _tensor("BF16", [2])}, bytes(4)),
    "dtype of another type": _file({"a": _tensor(["F32"])}, bytes(4)),
    "negative dimension": _file({"a": _tensor(shape=[-1])}, bytes(4)),
    "two negative dimensions": _file({"a": _tensor(shape=[-1, -1])}, bytes(4)),
    "fractional dimension": _file({"a": _tensor(shape=[1.0])}, bytes(4)),
    "bool dimension": _file({"a": _tensor(shape=[True])}, bytes(4)),
    "text dimension": _file({"a": _tensor(shape=["1"])}, bytes(4)),
    "shape that is no list": _file({"a": _tensor(shape=1)}, bytes(4)),
    "product that overflows to 1": _file({"a": _tensor(shape=[2**32, 2**32, 1])}, bytes(4)),
    "huge times zero": _file({"a": _tensor(shape=[2**62, 0], offsets=[0, 0])}),
    "dimension of 10^4000": _file(b'{"a":{"dtype":"F32","shape":[1%s],"data_offsets":[0,4]}}'
                                  % (b"0" * 4000), bytes(4)),
    "33 dimensions": _file({"a": _tensor(shape=[1] * 33)}, bytes(4)),
    "one offset": _file({"a": _tensor(offsets=[0])}, bytes(4)),
    "three offsets": _file({"a": _tensor(offsets=[0, 4, 4])}, bytes(4)),
    "negative offsets": _file({"a": _tensor(offsets=[-4, 0])}, bytes(4)),
    "offsets backwards": _file({"a": _tensor(offsets=[4, 0])}, bytes(4)),
    "offsets of another size": _file({"a": _tensor(offsets=[0, 8])}, bytes(8)),
    "offsets beyond the file": _file({"a": _tensor(offsets=[4, 8])}, bytes(4)),
    "data too short": _file({"a": _tensor()}, bytes(3)),
    "data left over": _file({"a": _tensor()}, bytes(5)),
    "data without tensor": _file({}, b"x"),
    "gap": _file({"a": _tensor(), "b": _tensor(offsets=[5, 9])}, bytes(9)),
    "overlap": _file({"a": _tensor(), "b": _tensor(offsets=[0, 4])}, bytes(4)),
    "overlap by half": _file({"a": _tensor(), "b": _tensor(offsets=[2, 6])}, bytes(6)),
    "10,001 tensors": _file(
        {str(n): _tensor(shape=[0], offsets=[0, 0]) for n in range(10_001)},
    ),
    "a bool of 2": _file({"a": _tensor("BOOL", [2], [0, 2])}, b"\1\2"),
    "a pickle": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0",
    "a zip": b"PK\x03\x04" + bytes(60),
    "a .npy": _npy(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_before_any_array_is_made(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(ArtefactError) as caught:
        load_arrays(HOSTILE[name], where="weights.safetensors")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.where == "weights.safetensors"
    assert len(str(caught.value)) < 1000
    assert peak < 64 << 20


@given(st.data())
@settings(max_examples=300)
def test_what_is_accepted_after_any_edit_the_library_reads_alike(data: st.DataObject) -> None:
    """No byte changed at random in the header gives arrays that the reference disagrees with."""
    content = bytearray(save_arrays({"a": np.arange(3.0), "b": np.ones((2, 2), dtype=np.int16)}))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = load_arrays(content, where="x")
    except ArtefactError:
        return
    _same(found, safetensors.numpy.load(bytes(content)))
