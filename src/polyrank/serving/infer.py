"""The Open Inference Protocol over a bundle: a tensor a column in, a tensor a task out.

Rows stand for themselves: each brings its user and its item, by id or by features. All rows of a
request are ranked as one list.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.encoding.columns import owner_of
from polyrank.schema import Bag, Categorical, Embedding, Feature, Numeric
from polyrank.schema import Sequence as History
from polyrank.scoring import SCORE, RequestScorer
from polyrank.serving.errors import RequestError
from polyrank.serving.protocol import InferRequest, ModelSpec, TensorSpec

ROWS = "rows"
"""The dimension that all tensors share."""
LENGTHS = ".lengths"
"""Behind a column of lists: the tensor that says how many values each row has."""
VALUES = "values of "
"""Before a column of lists: the dimension of its values."""
PARAMETERS: Mapping[str, type] = {"profile": str}
"""What a request may say beside the protocol's own."""
PLATFORM = "polyrank"


def spec_of(model: str, scorer: RequestScorer) -> ModelSpec:
    """What a bundle takes and gives.

    Inputs are the columns that the model reads and those by which side tables are joined, each
    optional: what is left out is joined by id or, else, missing. A list is a flat tensor and one of
    lengths. Outputs are ``score`` and each task's prediction, by its name, in the label's unit.
    """
    bundle = scorer.scorer.bundle
    columns = {*scorer.user_columns, *scorer.row_columns}
    inputs: dict[str, TensorSpec] = {}
    for feature in bundle.schema.features:
        if feature.column in columns:
            for tensor in _tensors(feature, _kinds(scorer)):
                inputs.setdefault(tensor.name, tensor)
    for side in bundle.schema.tables:
        key = bundle.tables[side.name].schema.field(side.key).type
        inputs.setdefault(side.on, _tensor(side.on, "INT64" if key == pa.int64() else "BYTES"))
    for name in (*scorer.row_columns, *scorer.scorer.segment_columns):
        inputs.setdefault(name, _tensor(name, "FP64" if name in columns else "BYTES"))
    outputs = [TensorSpec(name, "FP64", (ROWS,)) for name in (SCORE, *bundle.schema.task_names)]
    return ModelSpec(
        name=model,
        platform=PLATFORM,
        inputs=tuple(inputs.values()),
        outputs=tuple({each.name: each for each in outputs}.values()),
    )


def with_context(spec: ModelSpec, names: Iterable[str]) -> ModelSpec:
    """What a bundle takes and gives where value models read further columns, as text."""
    known = {each.name for each in spec.inputs}
    more = tuple(_tensor(name, "BYTES") for name in dict.fromkeys(names) if name not in known)
    return replace(spec, inputs=(*spec.inputs, *more)) if more else spec


def table_of(request: InferRequest) -> pa.Table:
    """The request's tensors as columns.

    Raises:
        RequestError: 400, lengths do not fit the values, or one comes without the other.
    """
    columns: dict[str, Any] = {}
    given = request.inputs
    for name, array in given.items():
        if name.endswith(LENGTHS):
            if name.removesuffix(LENGTHS) not in given:
                raise RequestError(400, f"tensor {name!a} comes without its values")
            continue
        lengths = given.get(name + LENGTHS)
        if lengths is None and VALUES + name in request.sizes:
            raise RequestError(400, f"tensor {name!a} comes without {name + LENGTHS!a}")
        columns[name] = _array(array) if lengths is None else _lists(name, array, lengths)
    return pa.table(columns)


def _kinds(scorer: RequestScorer) -> Mapping[str, str | None]:
    """By feature with a vocabulary, whether its ids are ``int``."""
    meta: Any = scorer.scorer.bundle.encoders.state()[0]
    return {name: table["kind"] for name, table in meta["vocabularies"].items()}


def _tensors(feature: Feature, kinds: Mapping[str, str | None]) -> Iterator[TensorSpec]:
    name = feature.column
    match feature:
        case Categorical():
            yield _tensor(name, _of_ids(kinds[owner_of(feature)]))
        case Numeric():
            yield _tensor(name, "FP64")
        case Embedding():
            yield TensorSpec(name, "FP32", (ROWS, feature.dim), optional=True)
        case Bag() | History():
            if feature.separator is not None:
                yield _tensor(name, "BYTES")
            else:
                values = _of_ids(kinds[owner_of(feature)])
                yield TensorSpec(name, values, (VALUES + name,), optional=True)
                yield _tensor(name + LENGTHS, "INT64")


def _tensor(name: str, datatype: str) -> TensorSpec:
    return TensorSpec(name, datatype, (ROWS,), optional=True)


def _of_ids(kind: str | None) -> str:
    return "INT64" if kind == "int" else "BYTES"


def _array(array: NDArray[Any]) -> Any:
    if array.ndim == 2:
        flat = pa.array(array.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    return pa.array(array, pa.large_string() if array.dtype == object else None)


def _lists(name: str, values: NDArray[Any], lengths_N: NDArray[Any]) -> Any:
    within = ((lengths_N >= 0) & (lengths_N <= len(values))).all()  # so that no sum can overflow
    if not within or int(lengths_N.sum()) != len(values):
        raise RequestError(
            400, f"tensor {name + LENGTHS!a} must sum to the {len(values)} values of {name!a}"
        )
    offsets = np.concatenate([[0], np.cumsum(lengths_N)])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), _array(values))
