"""Every recorded body is refused, warned about or accepted as a real kube-apiserver did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vapi.errors import ApiError
from vapi.gvk import GVK
from vapi.schema.decode import SCHEME, FieldValidation, decode_body
from vapi.schema.defaults import default_and_complete
from vapi.schema.schemas import Schemas

RECORDED = json.loads((Path(__file__).parent / "data" / "decode_recorded.json").read_text())
KINDS = {
    "configmaps": GVK("", "v1", "ConfigMap"),
    "pods": GVK("", "v1", "Pod"),
    "services": GVK("", "v1", "Service"),
    "secrets": GVK("", "v1", "Secret"),
    "events": GVK("", "v1", "Event"),
    "deployments": GVK("apps", "v1", "Deployment"),
    "controllerrevisions": GVK("apps", "v1", "ControllerRevision"),
    "leases": GVK("coordination.k8s.io", "v1", "Lease"),
    "customresourcedefinitions": GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
}
BUILT_HERE = "pkg/runtime/scheme.go:111"
"""The scheme's place in the server that was recorded; ours names that of released binaries."""


def warning_text(header: str) -> str:
    return header.removeprefix('299 - "').removesuffix('"').replace('\\"', '"').replace("\\\\", "\\")


def expected(recorded: dict[str, Any]) -> tuple[str, list[str]]:
    """(refusal, warnings); what comes after decoding (422 and the strategies' own warnings) is not ours."""
    refusal = recorded["message"].replace(BUILT_HERE, SCHEME) if recorded["code"] == 400 else ""
    return refusal, [warning_text(w) for w in recorded["warnings"] if "fractional byte value" not in w]


@pytest.mark.parametrize("validation", [FieldValidation.WARN, FieldValidation.STRICT])
@pytest.mark.parametrize("case", RECORDED, ids=[f"{i}" for i in range(len(RECORDED))])
def test_a_body_is_answered_as_recorded(case: dict[str, Any], validation: FieldValidation, schemas: Schemas) -> None:
    kind = KINDS[case["path"].rpartition("/")[2]]
    refusal, warnings = "", []
    try:
        decoded = decode_body(
            case["body"].encode(),
            case["contentType"],
            expected=kind,
            field_validation=validation,
            schemas=schemas,
        )
        warnings = list(decoded.warnings)
    except ApiError as error:
        assert error.code == 400
        refusal = error.message
    assert (refusal, warnings) == expected(case[validation])


@pytest.mark.parametrize(
    "case",
    [case for case in RECORDED if "object" in case["Warn"] and case["path"].endswith(("configmaps", "revisions"))],
    ids=lambda case: case["body"][:60],
)
def test_an_accepted_object_is_decoded_to_what_the_server_kept(case: dict[str, Any], schemas: Schemas) -> None:
    kind = KINDS[case["path"].rpartition("/")[2]]
    decoded = decode_body(
        case["body"].encode(),
        case["contentType"],
        expected=kind,
        field_validation=FieldValidation.IGNORE,
        schemas=schemas,
    )
    for key in ("creationTimestamp", "managedFields"):  # the server's own
        decoded.obj["metadata"].pop(key, None)
    assert decoded.obj == case["Warn"]["object"]


@pytest.mark.parametrize(
    "case",
    [case for case in RECORDED if "object" in case["Warn"] and case["path"].endswith("pods")],
    ids=lambda case: case["body"][60:140],
)
def test_the_containers_of_an_accepted_pod_are_as_the_server_kept_them(case: dict[str, Any], schemas: Schemas) -> None:
    kind = KINDS["pods"]
    decoded = decode_body(
        case["body"].encode(),
        case["contentType"],
        expected=kind,
        field_validation=FieldValidation.IGNORE,
        schemas=schemas,
    )
    default_and_complete(kind, decoded.obj, schemas=schemas)
    assert decoded.obj["spec"]["containers"] == case["Warn"]["object"]["spec"]["containers"]
