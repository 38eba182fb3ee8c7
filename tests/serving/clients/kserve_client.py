"""kserve's REST client against a server: ``python kserve_client.py URL MODEL < cases.json``.

Cases and results as in ``triton_client.py``; it knows no version, no compression and no metadata.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from httpx import HTTPStatusError
from kserve import (  # type: ignore[import-not-found,unused-ignore]
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import (  # type: ignore[import-not-found,unused-ignore]
    RequestedOutput,
)
from kserve.utils.numpy_codec import (  # type: ignore[import-not-found,unused-ignore]
    to_np_dtype,
)


def to_input(tensor: dict[str, Any], binary: bool) -> Any:
    array = np.array(tensor["data"], dtype=to_np_dtype(tensor["datatype"]))
    given = InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
    given.set_data_from_numpy(array.reshape(tensor["shape"]), binary_data=binary)
    return given


def to_request(model: str, case: dict[str, Any]) -> Any:
    binary = case.get("binary", False)
    return InferRequest(
        model_name=model,
        request_id=case.get("id"),
        infer_inputs=[to_input(tensor, binary) for tensor in case["inputs"]],
        parameters={"binary_data_output": True} if binary else None,
        request_outputs=[
            RequestedOutput(name, {"binary_data": binary}) for name in case.get("outputs", [])
        ],
    )


def plain(output: Any) -> list[Any]:
    values = output.as_numpy().ravel().tolist()
    return [x.decode() if isinstance(x, bytes) else x for x in values]


async def infer(client: Any, url: str, model: str, case: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await client.infer(url, to_request(model, case), model_name=model)
    except HTTPStatusError as error:
        return {"error": str(error), "status": error.response.status_code}
    return {
        "id": answer.id,
        "model": answer.model_name,
        "outputs": {
            output.name: {
                "datatype": output.datatype,
                "shape": list(output.shape),
                "data": plain(output),
            }
            for output in answer.outputs
        },
    }


async def run(url: str, model: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    try:
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, model),
            "answers": [await infer(client, url, model, case) for case in cases],
        }
    finally:
        await client.close()


if __name__ == "__main__":
    json.dump(asyncio.run(run(sys.argv[1], sys.argv[2], json.load(sys.stdin)["cases"])), sys.stdout)
