"""The volumes of a Pod: names, exactly one source each, and what each source must say.

Of the sources that were never ported to CSI drivers (gitRepo, flocker, quobyte, scaleIO, …) only that they are
alone is checked. Source: pkg/apis/core/validation (1.37).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from vapi.errors import field_duplicate, field_forbidden, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, claims, godump, names_of_signers
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import env, paths

_DIRECTORY_MODE = "must be a number between 0 and 01777 (octal), both inclusive"
_MAX_DIRECTORY_MODE = 0o1777
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MIN_TOKEN_S, _MAX_TOKEN_S = 600, 1 << 32
_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_MIN_CERTIFICATE_S, _MAX_CERTIFICATE_S, _MAX_KUBERNETES_CERTIFICATE_S = 3600, 91 * 86400, 86400
_CONFLICT = "conflicting duplicate paths"
_MAX_ISCSI = 64


def volumes(causes: Causes, path: str, listed: Sequence[Obj], pod_name: str) -> Mapping[str, Obj]:
    """The good ones by name. `pod_name`: "" in templates."""
    good: dict[str, Obj] = {}
    made = {f"{pod_name}-{v.get('name', '')}" for v in listed if "ephemeral" in v} if pod_name else set()
    for index, volume in enumerate(listed):
        here, found = f"{path}[{index}]", list[Any]()
        name = volume.get("name", "")
        _source(found, here, volume, pod_name)
        if not name:
            found.append(field_required(f"{here}.name"))
        else:
            checks.dns_label(found, f"{here}.name", name)
        if name in good:
            found.append(field_duplicate(f"{here}.name", name))
        if found:
            causes.extend(found)
        else:
            good[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in made:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            causes.append(field_invalid(f"{here}.persistentVolumeClaim.claimName", claim, detail))
    return good


def _source(causes: Causes, path: str, volume: Obj, pod_name: str) -> None:
    kinds = [kind for kind in _SOURCES if volume.get(kind) is not None]
    if not kinds:
        causes.append(field_required(path, "must specify a volume type"))
        return
    first = kinds[0]
    _SOURCES[first](causes, f"{path}.{_SHOWN.get(first, first)}", volume[first])
    for kind in kinds[1:]:
        detail = "may not specify more than 1 volume type"
        causes.append(field_forbidden(f"{path}.{_SHOWN_FORBIDDEN.get(kind, kind)}", detail))
    name = volume.get("name", "")
    portal = (volume.get("iscsi") or {}).get("targetPortal", "")
    if "initiatorName" in (volume.get("iscsi") or {}) and len(f"{name}:{portal}") > _MAX_ISCSI:
        detail = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
            "if iscsi.initiatorName is specified."
        )
        causes.append(field_invalid(f"{path}.name", name, detail))
    if first == "ephemeral" and pod_name and name:
        claim = f"{pod_name}-{name}"
        if problem := checks.dns_subdomain_problem(claim):
            causes.append(field_invalid(f"{path}.name", name, f'PVC name "{claim}": {problem}'))


# upstream spells a few paths otherwise than the field
_SHOWN = {"gcePersistentDisk": "persistentDisk"}
_SHOWN_FORBIDDEN = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}


# --- sources --------------------------------------------------------------------------------------


def _needs(causes: Causes, path: str, source: Obj, *, fields: tuple[str, ...]) -> None:
    for name in fields:
        checks.required(causes, f"{path}.{name}", source.get(name))


def _empty_dir(causes: Causes, path: str, source: Obj) -> None:
    limit, mode = source.get("sizeLimit"), source.get("mode")
    if limit is not None and checks.nanos(limit) < 0:
        causes.append(field_forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))
    if mode is not None and not 0 <= mode <= _MAX_DIRECTORY_MODE:
        causes.append(field_invalid(f"{path}.mode", mode, _DIRECTORY_MODE))


def host_path(causes: Causes, path: str, source: Obj) -> None:
    if checks.required(causes, f"{path}.path", source.get("path")):
        paths.no_backsteps(causes, f"{path}.path", source["path"])
        checks.one_of(causes, f"{path}.type", source.get("type"), _HOST_PATH_TYPES)


def nfs(causes: Causes, path: str, source: Obj) -> None:
    checks.required(causes, f"{path}.server", source.get("server"))
    target = source.get("path", "")
    checks.required(causes, f"{path}.path", target)
    if not target.startswith("/"):
        causes.append(field_invalid(f"{path}.path", target, "must be an absolute path"))


def _keyed(causes: Causes, path: str, source: Obj, *, name: str) -> None:
    """A Secret or ConfigMap."""
    checks.required(causes, f"{path}.{name}", source.get(name))
    checks.file_mode(causes, f"{path}.defaultMode", source.get("defaultMode"))
    checks.user_id(causes, f"{path}.defaultUser", source.get("defaultUser"))
    for index, item in enumerate(source.get("items") or ()):
        _key_to_path(causes, f"{path}.items[{index}]", item)


def _key_to_path(causes: Causes, path: str, item: Obj) -> None:
    checks.required(causes, f"{path}.key", item.get("key"))
    checks.required(causes, f"{path}.path", item.get("path"))
    paths.local_not_reserved(causes, f"{path}.path", item.get("path", ""))
    checks.file_mode(causes, f"{path}.mode", item.get("mode"))
    checks.user_id(causes, f"{path}.user", item.get("user"))


def _downward(causes: Causes, path: str, source: Obj) -> None:
    checks.file_mode(causes, f"{path}.defaultMode", source.get("defaultMode"))
    checks.user_id(causes, f"{path}.defaultUser", source.get("defaultUser"))
    for item in source.get("items") or ():
        _downward_file(causes, path, item)


def _downward_file(causes: Causes, path: str, item: Obj) -> None:
    checks.required(causes, f"{path}.path", item.get("path"))
    paths.local_not_reserved(causes, f"{path}.path", item.get("path", ""))
    if "fieldRef" in item:
        env.field_ref(causes, f"{path}.fieldRef", item["fieldRef"], env.VOLUME_FIELDS)
        if "resourceFieldRef" in item:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            causes.append(field_invalid(path, "resource", detail))
    elif "resourceFieldRef" in item:
        env.resource_ref(causes, f"{path}.resourceFieldRef", item["resourceFieldRef"], in_volume=True)
    else:
        causes.append(field_required(path, "one of fieldRef and resourceFieldRef is required"))
    checks.file_mode(causes, f"{path}.mode", item.get("mode"))
    checks.user_id(causes, f"{path}.user", item.get("user"))


def _csi(causes: Causes, path: str, source: Obj) -> None:
    claims.driver_name(causes, f"{path}.driver", source.get("driver", ""))
    secret = source.get("nodePublishSecretRef")
    if secret is not None and checks.required(causes, f"{path}.nodePublishSecretRef.name", secret.get("name")):
        checks.dns_subdomain(causes, f"{path}.name", secret["name"])


def _ephemeral(causes: Causes, path: str, source: Obj) -> None:
    template = source.get("volumeClaimTemplate")
    here = f"{path}.volumeClaimTemplate"
    if template is None:
        causes.append(field_required(here))
        return
    claims.template_metadata(causes, f"{here}.metadata", template.get("metadata") or {})
    claims.spec(causes, f"{here}.spec", template.get("spec") or {})


def _image(causes: Causes, path: str, source: Obj) -> None:
    checks.required(causes, f"{path}.reference", source.get("reference"))
    checks.required_one_of(causes, f"{path}.pullPolicy", source.get("pullPolicy"), _PULL_POLICIES)


# --- projected ------------------------------------------------------------------------------------


def _projected(causes: Causes, path: str, source: Obj) -> None:
    checks.file_mode(causes, f"{path}.defaultMode", source.get("defaultMode"))
    checks.user_id(causes, f"{path}.defaultUser", source.get("defaultUser"))
    taken: set[str] = set()
    for index, projection in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        kinds = [kind for kind in _PROJECTIONS if projection.get(kind) is not None]
        for kind in kinds:
            _PROJECTIONS[kind](causes, path, f"{here}.{kind}", projection[kind], taken)
        if len(kinds) > 1:
            causes.append(field_forbidden(here, "may not specify more than 1 volume type per source"))


def _take(causes: Causes, path: str, target: str, taken: set[str], shown: str | None = None) -> None:
    if target in taken:
        causes.append(field_invalid(path, target if shown is None else shown, _CONFLICT))
    taken.add(target)


def _project_keyed(causes: Causes, volume: str, path: str, source: Obj, taken: set[str]) -> None:
    name = source.get("name", "")
    checks.required(causes, f"{path}.name", name)
    for index, item in enumerate(source.get("items") or ()):
        _key_to_path(causes, f"{path}.items[{index}]", item)
        if item.get("path"):
            _take(causes, volume, item["path"], taken, name)


def _project_downward(causes: Causes, volume: str, path: str, source: Obj, taken: set[str]) -> None:
    for item in source.get("items") or ():
        _downward_file(causes, path, item)
        if item.get("path"):
            _take(causes, volume, item["path"], taken)


def _project_token(causes: Causes, volume: str, path: str, source: Obj, _taken: set[str]) -> None:
    seconds, here = source.get("expirationSeconds"), f"{path}.expirationSeconds"
    if seconds is None:
        causes.append(field_required(here))
    elif seconds < _MIN_TOKEN_S:
        causes.append(field_invalid(here, seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > _MAX_TOKEN_S:
        causes.append(field_invalid(here, seconds, "may not specify a duration larger than 2^32 seconds"))
    if checks.required(causes, f"{volume}.path", source.get("path")):
        paths.local_not_reserved(causes, f"{volume}.path", source["path"])
    checks.user_id(causes, f"{path}.user", source.get("user"))


def _project_bundle(causes: Causes, volume: str, path: str, source: Obj, taken: set[str]) -> None:
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        detail = "only one of name and signerName may be used"
        causes.append(godump.invalid(path, "core.ClusterTrustBundleProjection", source, detail))
    elif name is not None:
        if not name:
            causes.append(field_required(f"{path}.name", "must be a valid object name"))
        if problem := names_of_signers.bundle_name(name, names_of_signers.signer_in(name)):
            causes.append(field_invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {problem}"))
        if "labelSelector" in source:
            detail = "labelSelector must be unset if name is specified"
            causes.append(field_invalid(f"{path}.labelSelector", source["labelSelector"], detail))
    elif signer is not None:
        if not signer:
            causes.append(field_required(f"{path}.signerName", "must be a valid signer name"))
        names_of_signers.signer_name(causes, f"{path}.signerName", signer)
        checks.label_selector(causes, f"{path}.labelSelector", source.get("labelSelector"))
    else:
        causes.append(field_required(path, "either name or signerName must be specified"))
    target = source.get("path", "")
    checks.required(causes, f"{path}.path", target)
    checks.user_id(causes, f"{path}.user", source.get("user"))
    paths.local_not_reserved(causes, f"{path}.path", target)
    _take(causes, volume, target, taken)


def _project_certificate(causes: Causes, volume: str, path: str, source: Obj, taken: set[str]) -> None:
    signer = source.get("signerName", "")
    names_of_signers.signer_name(causes, f"{path}.signerName", signer)
    checks.user_id(causes, f"{path}.user", source.get("user"))
    checks.one_of(causes, f"{path}.keyType", source.get("keyType", ""), _KEY_TYPES)
    seconds, here = source.get("maxExpirationSeconds"), f"{path}.maxExpirationSeconds"
    if seconds is not None:
        own = names_of_signers.is_kubernetes(signer)
        most = _MAX_KUBERNETES_CERTIFICATE_S if own else _MAX_CERTIFICATE_S
        if seconds < _MIN_CERTIFICATE_S:
            causes.append(field_invalid(here, seconds, "if provided, maxExpirationSeconds must be >= 3600"))
        if seconds > most:
            causes.append(field_invalid(here, seconds, f"if provided, maxExpirationSeconds must be <= {most}"))
    targets = [name for name in ("credentialBundlePath", "keyPath", "certificateChainPath") if source.get(name)]
    for name in targets:
        paths.local_not_reserved(causes, f"{path}.{name}", source[name])
        _take(causes, volume, source[name], taken)
    if not targets:
        detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        causes.append(field_required(path, detail))


_PROJECTIONS: Mapping[str, Callable[[Causes, str, str, Obj, set[str]], None]] = {
    "secret": _project_keyed,
    "configMap": _project_keyed,
    "downwardAPI": _project_downward,
    "serviceAccountToken": _project_token,
    "clusterTrustBundle": _project_bundle,
    "podCertificate": _project_certificate,
}


def _unchecked(_causes: Causes, _path: str, _source: Obj) -> None:
    return None


# in the order in which Kubernetes looks
_SOURCES: Mapping[str, Callable[[Causes, str, Obj], None]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": partial(_needs, fields=("repository",)),
    "gcePersistentDisk": partial(_needs, fields=("pdName",)),
    "awsElasticBlockStore": partial(_needs, fields=("volumeID",)),
    "secret": partial(_keyed, name="secretName"),
    "nfs": nfs,
    "iscsi": partial(_needs, fields=("targetPortal", "iqn")),
    "glusterfs": partial(_needs, fields=("endpoints", "path")),
    "flocker": _unchecked,
    "persistentVolumeClaim": partial(_needs, fields=("claimName",)),
    "rbd": partial(_needs, fields=("monitors", "image")),
    "cinder": partial(_needs, fields=("volumeID",)),
    "cephfs": partial(_needs, fields=("monitors",)),
    "quobyte": _unchecked,
    "downwardAPI": _downward,
    "fc": _unchecked,
    "flexVolume": partial(_needs, fields=("driver",)),
    "configMap": partial(_keyed, name="name"),
    "azureFile": partial(_needs, fields=("secretName", "shareName")),
    "vsphereVolume": partial(_needs, fields=("volumePath",)),
    "photonPersistentDisk": partial(_needs, fields=("pdID",)),
    "portworxVolume": partial(_needs, fields=("volumeID",)),
    "azureDisk": partial(_needs, fields=("diskName", "diskURI")),
    "storageos": partial(_needs, fields=("volumeName",)),
    "projected": _projected,
    "scaleIO": partial(_needs, fields=("gateway", "system", "volumeName")),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
