"""The numbers in the docstrings of vapi.schema: `python -m tests.vapi.schema.tools.bench`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.vapi.schema.protobuf_encoder import envelope
from vapi import encoding
from vapi.gvk import GVK, Obj
from vapi.schema import godecode
from vapi.schema.decode import JSON, PROTOBUF, YAML, Decoded, FieldValidation, decode_body, may_have_duplicates
from vapi.schema.defaults import apply_defaults, default_and_complete
from vapi.schema.schemas import load_schemas

POD = GVK("", "v1", "Pod")
DEPLOYMENT = GVK("apps", "v1", "Deployment")
CONTAINER = {
    "name": "c",
    "image": "nginx:1",
    "ports": [{"containerPort": 80, "protocol": "TCP"}],
    "env": [{"name": "A", "value": "b"}],
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    "volumeMounts": [{"name": "v", "mountPath": "/x"}],
}
YAML_POD = b"""apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: x}}
spec:
  containers:
  - name: c
    image: nginx:1
    ports:
    - containerPort: 80
"""


def pod() -> Obj:
    metadata = {"name": "a", "namespace": "default", "labels": {"app": "x"}}
    spec = {"containers": [CONTAINER], "volumes": [{"name": "v", "emptyDir": {}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def best_us(run: Callable[[], object], rounds: int = 2000) -> float:
    """Of five series: the mean time of a call in the best one, in µs."""
    run()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(rounds):
            run()
        best = min(best, time.perf_counter() - start)
    return best / rounds * 1e6


def main() -> None:
    start = time.perf_counter()
    schemas = load_schemas()
    print(f"load_schemas {(time.perf_counter() - start) * 1e3:.1f} ms")
    data = json.dumps(pod()).encode()
    odd = pod()
    odd["metadata"]["creationTimestamp"] = None
    odd_data = json.dumps(odd).encode()
    template = {"metadata": {}, "spec": pod()["spec"]}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    deployment["spec"] = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployment_type = schemas.types.for_gvk(DEPLOYMENT)
    pod_type = schemas.types.for_gvk(POD)
    assert deployment_type and pod_type
    message = envelope(deployment, deployment_type)
    done = encoding.loads(data)
    default_and_complete(POD, done, schemas=schemas)

    def decode(body: bytes, media_type: str = JSON, expected: GVK = POD) -> Decoded:
        return decode_body(body, media_type, expected=expected, field_validation=FieldValidation.WARN, schemas=schemas)

    loads = best_us(lambda: encoding.loads(data))
    runs: dict[str, float] = {
        "orjson.loads": loads,
        "gate": best_us(lambda: schemas.gate.passes(POD, done)),
        "duplicates": best_us(lambda: may_have_duplicates(data, done)),
        "decode, fast path": best_us(lambda: decode(data)),
        "decode, slow path": best_us(lambda: decode(odd_data), 500),
        "decode YAML": best_us(lambda: decode(YAML_POD, YAML), 300),
        "decode protobuf (Deployment)": best_us(lambda: decode(message, PROTOBUF, DEPLOYMENT), 500),
        "apply_defaults": best_us(lambda: apply_defaults(POD, encoding.loads(data))) - loads,
        "default_and_complete": best_us(lambda: default_and_complete(POD, encoding.loads(data), schemas=schemas))
        - loads,
        "complete": best_us(lambda: godecode.complete(done, pod_type)),
    }
    for name, microseconds in runs.items():
        print(f"{name:30} {microseconds:6.1f} µs")


if __name__ == "__main__":
    main()
