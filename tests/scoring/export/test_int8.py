"""Products and tables in 8 bits: on a small graph made by hand, and by arithmetic.

Shapes: N rows, R users, V rows of a table.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from polyrank.errors import ConfigError
from polyrank.scoring.engines.onnx import session_of
from polyrank.scoring.export import int8
from polyrank.scoring.export.int8 import quantised_by
from polyrank.scoring.export.int8_tables import rounded_rows, with_int8_tables
from tests import feeds

Arrays = dict[str, NDArray[Any]]
N, R, WIDE = 300, 3, 48
RNG = np.random.default_rng(0)


def _normal(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


WEIGHTS: Arrays = {
    "of user": _normal(8, WIDE),
    "first": _normal(40, WIDE),
    "second": _normal(40, WIDE),
    "third": _normal(WIDE, 32),
    "fourth": _normal(WIDE, 32),
    "bias": _normal(32),
    "last": _normal(64, 32),
    "shape": np.array([-1, 2, 32]),
    "batched": _normal(32, 32),
}
for name in ("first", "second"):
    WEIGHTS[name][0] /= 30  # of the column that is 30 times as wide
NODES = [
    ("Gemm", ["u", "of user"], "u product"),
    ("Gather", ["u product", "row"], "u chosen"),
    ("Gemm", ["x", "first", "u chosen"], "a"),
    ("Relu", ["a"], "a relu"),
    ("Gemm", ["x", "second"], "b"),
    ("Relu", ["b"], "b relu"),
    ("Gemm", ["a relu", "third", "bias"], "c"),
    ("Relu", ["c"], "c relu"),
    ("Gemm", ["b relu", "fourth"], "d"),
    ("Relu", ["d"], "d relu"),
    ("Concat", ["c relu", "d relu"], "both"),
    ("Gemm", ["both", "last"], "e"),
    ("Relu", ["e"], "e relu"),
    ("Reshape", ["both", "shape"], "three"),
    ("MatMul", ["three", "batched"], "f"),
]


def _graph() -> bytes:
    nodes = [helper.make_node(kind, read, [name], name) for kind, read, name in NODES]
    nodes[10].attribute.append(helper.make_attribute("axis", 1))
    floats, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    value = helper.make_tensor_value_info
    given = [
        *(value("x", floats, ["n", 40]), value("u", floats, ["r", 8])),
        value("row", whole, ["k"]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        given,
        [value(name, floats, None) for name in ("e relu", "f", "both")],
        [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture(scope="module")
def feed() -> Arrays:
    x = _normal(N, 40)
    x[:, 0] *= 30
    return {"x": x, "u": _normal(R, 8), "row": RNG.integers(0, R, N)}


@pytest.fixture(scope="module")
def rounded(feed: Arrays) -> bytes:
    return quantised_by(_graph(), feed)


def _run(graph: bytes, feed: Arrays) -> list[NDArray[np.float32]]:
    found: list[NDArray[np.float32]] = session_of(graph, 1).run(None, feed)
    return found


def test_what_is_computed_in_8_bits(rounded: bytes) -> None:
    nodes = onnx.load_from_string(rounded).graph.node
    counts = Counter(node.op_type for node in nodes)
    assert counts["QGemm"] == 5
    assert counts["Gemm"] == 1  # the user's, made once a user
    assert counts["Relu"] == 1  # what goes out
    assert counts["QuantizeLinear"] == 2  # x, and what is batched
    assert counts["MatMulIntegerToFloat"] == 1
    chosen = {node.input[0] for node in nodes if node.op_type == "Gather"}
    assert chosen == {"a.whole"}  # integers, in the product's units


def test_it_gives_about_the_same(rounded: bytes, feed: Arrays) -> None:
    for found, want in zip(_run(rounded, feed), _run(_graph(), feed), strict=True):
        assert 0 < np.abs(found - want).max() < 0.03 * np.abs(want).max()


def test_one_wide_column_costs_the_others_little(
    rounded: bytes, feed: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded by one scale, 39 columns of 40 would have 30 times fewer steps."""
    monkeypatch.setattr(int8, "_UNEVEN", np.inf)
    want = _run(_graph(), feed)

    def errors(graph: bytes) -> list[float]:
        pairs = zip(_run(graph, feed), want, strict=True)
        return [float(np.abs(found - value).mean()) for found, value in pairs]

    for even, uneven in zip(errors(rounded), errors(quantised_by(_graph(), feed)), strict=True):
        assert 3 * even < uneven


def test_bits_depend_on_the_row_and_its_user_alone(rounded: bytes, feed: Arrays) -> None:
    whole = _run(rounded, feed)
    session = session_of(rounded, 2)
    for size in (1, 2, 17, 100):
        part = {**feed, "x": feed["x"][:size], "row": feed["row"][:size]}
        for found, want in zip(session.run(None, part), whole, strict=True):
            assert np.array_equal(found, want[:size])
    one = {**feed, "row": np.zeros(N, np.int64)}
    for found, want in zip(
        session.run(None, {**one, "row": np.zeros(1, np.int64)}), _run(rounded, one), strict=True
    ):
        assert np.array_equal(found, want)


def test_what_lies_beyond_the_rows_is_cut_off(rounded: bytes, feed: Arrays) -> None:
    factor = feed["x"].max() / np.abs(feed["x"]).max(0)  # every column at the end of its range
    at, beyond = (
        _run(
            rounded,
            {
                "x": np.full((1, 40), size, np.float32) * 1e4 / factor,
                "u": feed["u"],
                "row": np.zeros(1, np.int64),
            },
        )
        for size in (1, 10)
    )
    for near, far in zip(at, beyond, strict=True):
        assert np.array_equal(near, far)
    extreme = {**feed, "u": np.full((R, 8), 1e30, np.float32)}
    assert all(np.isfinite(value).all() for value in _run(rounded, extreme))


def test_products_without_rows_or_too_narrow_stay(feed: Arrays) -> None:
    empty = {**feed, "x": feed["x"][:0], "row": feed["row"][:0]}
    for graph in (quantised_by(_graph(), empty), quantised_by(_graph(), feed, least=100)):
        for found, want in zip(_run(graph, feed), _run(_graph(), feed), strict=True):
            assert np.allclose(found, want, rtol=1e-5, atol=1e-4)


# Tables.


@settings(max_examples=30)
@given(
    rows=st.lists(st.tuples(st.integers(-90, 0), st.integers(0, 2**31)), min_size=1, max_size=20)
)
def test_a_row_loses_half_a_step_of_its_own(rows: list[tuple[int, int]]) -> None:
    table_VD = torch.stack(
        [
            torch.randn(16, generator=torch.Generator().manual_seed(seed)) * 2.0 ** (place / 3)
            for place, seed in rows
        ]
    )
    bytes_VD, steps = rounded_rows(table_VD)
    assert bytes_VD.dtype == torch.int8
    assert bytes_VD.shape == (len(rows), 17)
    place_V = bytes_VD[:, -1].numpy().astype(np.int64)
    found = bytes_VD[:, :-1].numpy().astype(np.float64) * steps[place_V][:, None]
    most_V = table_VD.abs().amax(1).double().numpy()
    bound_V = most_V / 127 / 2 * 2 ** (1 / 8) * 1.001
    assert (np.abs(found - table_VD.double().numpy()).max(1) <= bound_V).all()


def test_rows_of_zeros_and_tables_without_rows() -> None:
    table_VD = torch.zeros(3, 4)
    table_VD[1, 2] = 7.0
    bytes_VD, steps = rounded_rows(table_VD)
    assert bytes_VD[:, :-1].tolist() == [[0] * 4, [0, 0, 127, 0], [0] * 4]
    assert bytes_VD[1, -1] == 127
    assert 127 * steps[127] == pytest.approx(7.0)
    assert rounded_rows(torch.zeros(0, 4))[0].shape == (0, 5)
    assert rounded_rows(torch.zeros(2, 4))[0][:, :-1].tolist() == [[0] * 4] * 2


def test_a_table_that_is_not_read_by_rows_is_refused() -> None:
    model = feeds.bundle().model
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Neg", ["table.0"], ["y"])],
        "whole",
        [value("table.0", onnx.TensorProto.FLOAT, list(model.tables_of_inputs()[0].shape))],
        [value("y", onnx.TensorProto.FLOAT, None)],
    )
    with pytest.raises(ConfigError, match="by Neg, not by rows"):
        with_int8_tables(helper.make_model(graph).SerializeToString(), model)
