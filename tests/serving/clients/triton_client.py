"""tritonclient[http] against a server: ``python triton_client.py URL MODEL < cases.json``.

Standard input: ``{"cases": [case, ...]}``. A case has ``inputs`` (``name``, ``datatype``, ``shape``
and ``data``, flat), and may have ``outputs`` (names), ``binary`` (both ways; false), ``version``,
``id``, ``timeout`` (microseconds), ``request_compression`` and ``response_compression`` (gzip,
deflate).

Standard output: ``live``, ``ready``, ``model_ready``, ``server``, ``metadata``, and for each case
under ``answers`` its ``id``, ``model`` and ``outputs`` (by name: ``datatype``, ``shape`` and
``data``, flat), or ``error`` and ``status``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from tritonclient.http import (  # type: ignore[import-not-found,unused-ignore]
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
)
from tritonclient.utils import (  # type: ignore[import-not-found,unused-ignore]
    InferenceServerException,
    triton_to_np_dtype,
)


def to_input(tensor: dict[str, Any], binary: bool) -> Any:
    array = np.array(tensor["data"], dtype=triton_to_np_dtype(tensor["datatype"]))
    given = InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
    return given.set_data_from_numpy(array.reshape(tensor["shape"]), binary_data=binary)


def plain(array: Any) -> list[Any]:
    return [x.decode() if isinstance(x, bytes) else x for x in array.ravel().tolist()]


def infer(client: Any, model: str, case: dict[str, Any]) -> dict[str, Any]:
    binary = case.get("binary", False)
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in case.get("outputs", [])]
    try:
        result = client.infer(
            model,
            [to_input(tensor, binary) for tensor in case["inputs"]],
            outputs=outputs or None,
            model_version=case.get("version", ""),
            request_id=case.get("id", ""),
            timeout=case.get("timeout"),
            request_compression_algorithm=case.get("request_compression"),
            response_compression_algorithm=case.get("response_compression"),
        )
    except InferenceServerException as error:
        return {"error": error.message(), "status": int(error.status())}
    answer = result.get_response()
    return {
        "id": answer.get("id"),
        "model": answer["model_name"],
        "outputs": {
            output["name"]: {
                "datatype": output["datatype"],
                "shape": output["shape"],
                "data": plain(result.as_numpy(output["name"])),
            }
            for output in answer["outputs"]
        },
    }


def main(url: str, model: str) -> None:
    with InferenceServerClient(url.removeprefix("http://")) as client:
        result = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model),
            "server": client.get_server_metadata(),
            "metadata": client.get_model_metadata(model),
            "answers": [infer(client, model, case) for case in json.load(sys.stdin)["cases"]],
        }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
