"""Open Inference Protocol v2, with the binary extension: bytes to arrays and back, and no server.

>>> import numpy as np
>>> from polyrank.serving.protocol import ModelSpec, TensorSpec, dumps, infer_answer, parse_request
>>> spec = ModelSpec(
...     name="feed",
...     platform="polyrank",
...     inputs=(TensorSpec("age", "FP32", ("rows",)),),
...     outputs=(TensorSpec("like", "FP64", ("rows",)),),
... )
>>> age = {"name": "age", "datatype": "FP32", "shape": [2], "data": [1, 2]}
>>> body = dumps({"id": "7", "inputs": [age]})
>>> request = parse_request(body, None, spec, caps={"rows": 10_000})
>>> request.inputs["age"], request.sizes
(array([1., 2.], dtype=float32), {'rows': 2})
>>> answer = infer_answer(spec, request, {"like": np.array([0.25, 0.5])}, version="1")
>>> answer.body
b'{"model_name":"feed","model_version":"1","id":"7","outputs":[{"name":"like","datatype":"FP64",\
"shape":[2],"data":[0.25,0.5]}]}'
"""

from polyrank.serving.protocol.answers import (
    BINARY,
    EXTENSIONS,
    JSON,
    Answer,
    error_answer,
    infer_answer,
    live_answer,
    model_answer,
    model_ready_answer,
    ready_answer,
    server_answer,
)
from polyrank.serving.protocol.infer import (
    HEADER_LENGTH,
    PARAMETERS,
    InferRequest,
    Wanted,
    parse_request,
)
from polyrank.serving.protocol.spec import NAME, WIRE, ModelSpec, TensorSpec, valid_name
from polyrank.serving.protocol.strict_json import dumps, loads

__all__ = [
    "BINARY",
    "EXTENSIONS",
    "HEADER_LENGTH",
    "JSON",
    "NAME",
    "PARAMETERS",
    "WIRE",
    "Answer",
    "InferRequest",
    "ModelSpec",
    "TensorSpec",
    "Wanted",
    "dumps",
    "error_answer",
    "infer_answer",
    "live_answer",
    "loads",
    "model_answer",
    "model_ready_answer",
    "parse_request",
    "ready_answer",
    "server_answer",
    "valid_name",
]
