"""open-inference-openapi against a server: ``python open_inference_client.py URL MODEL < cases``.

Cases and results as in ``triton_client.py``; it knows neither the binary extension nor compression,
and reads and writes every number, true and false included, as a float.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from open_inference.openapi.client import (  # type: ignore[import-not-found,unused-ignore]
    OpenInferenceClient,
)
from open_inference.openapi.core.api_error import (  # type: ignore[import-not-found,unused-ignore]
    ApiError,
)
from open_inference.openapi.types import (  # type: ignore[import-not-found,unused-ignore]
    InferenceRequest,
    RequestInput,
    RequestOutput,
)


def to_request(case: dict[str, Any]) -> Any:
    given: dict[str, Any] = {"inputs": [RequestInput(**tensor) for tensor in case["inputs"]]}
    if "id" in case:
        given["id"] = case["id"]
    if "outputs" in case:
        given["outputs"] = [RequestOutput(name=name) for name in case["outputs"]]
    return InferenceRequest(**given)


def infer(client: Any, model: str, case: dict[str, Any]) -> dict[str, Any]:
    try:
        if "version" in case:
            answer = client.model_version_infer(model, case["version"], request=to_request(case))
        else:
            answer = client.model_infer(model, request=to_request(case))
    except ApiError as error:
        body = error.body
        return {"error": body["error"], "status": error.status_code}
    return {
        "id": answer.id,
        "model": answer.model_name,
        "outputs": {
            output.name: {
                "datatype": output.datatype,
                "shape": output.shape,
                "data": json.loads(output.data.json()),
            }
            for output in answer.outputs
        },
    }


def main(url: str, model: str) -> None:
    client = OpenInferenceClient(base_url=url)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness(model)
    result = {
        "live": True,
        "ready": True,
        "model_ready": True,
        "server": json.loads(client.read_server_metadata().json()),
        "metadata": json.loads(client.read_model_metadata(model).json()),
        "answers": [infer(client, model, case) for case in json.load(sys.stdin)["cases"]],
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
