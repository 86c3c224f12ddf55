"""Security contexts of pods and containers: users, seccomp, AppArmor, sysctls, profiles in old annotations.

Of Windows options nothing is checked. Source: pkg/apis/core/validation (1.37).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vapi.errors import field_duplicate, field_forbidden, field_invalid, field_not_supported, field_required
from vapi.errors import field_too_long as too_long
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import paths

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SEGMENT}[\./])*{_SEGMENT}"
_sysctl = re.compile(_SYSCTL).fullmatch
_MAX_SYSCTL = 253
_MAX_PROFILE = 4095
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in ("sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "shm", "msgmax", "msgmnb", "msgmni", "msg")
)
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"


# --- of the pod -----------------------------------------------------------------------------------


def of_pod(causes: Causes, path: str, context: Obj, spec: Obj) -> None:
    checks.user_id(causes, f"{path}.fsGroup", context.get("fsGroup"))
    checks.user_id(causes, f"{path}.runAsUser", context.get("runAsUser"))
    checks.user_id(causes, f"{path}.runAsGroup", context.get("runAsGroup"))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        checks.user_id(causes, f"{path}.supplementalGroups[{index}]", group)
    if context.get("sysctls"):
        _sysctls(causes, f"{path}.sysctls", context["sysctls"], spec)
    policy = context.get("fsGroupChangePolicy")
    checks.one_of(causes, f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"))
    _seccomp(causes, f"{path}.seccompProfile", context.get("seccompProfile"))
    _app_armor(causes, f"{path}.appArmorProfile", context.get("appArmorProfile"))
    supplemental = context.get("supplementalGroupsPolicy")
    checks.one_of(causes, f"{path}.supplementalGroupsPolicy", supplemental, ("Merge", "Strict"))
    change = context.get("seLinuxChangePolicy")
    checks.one_of(causes, f"{path}.seLinuxChangePolicy", change, ("MountOption", "Recursive"))


def _sysctls(causes: Causes, path: str, sysctls: list[Obj], spec: Obj) -> None:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        here, name = f"{path}[{index}].name", sysctl.get("name", "")
        if not name:
            causes.append(field_required(here))
        elif len(name) > _MAX_SYSCTL or not _sysctl(name):
            detail = f"must have at most {_MAX_SYSCTL} characters and match regex ^{_SYSCTL}$"
            causes.append(field_invalid(here, name, detail))
        elif name in seen:
            causes.append(field_duplicate(here, name))
        seen.add(name)
        dotted = _dotted(name)
        if spec.get("hostNetwork") and dotted.startswith("net."):
            causes.append(field_invalid(here, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue.")):
            causes.append(field_invalid(here, name, "may not be specified when 'hostIPC' is true"))


def _dotted(name: str) -> str:
    """With slashes and dots exchanged where the slash comes first."""
    first = re.search(r"[./]", name)
    return name.translate(str.maketrans("./", "/.")) if first and first.group() == "/" else name


# --- of a container -------------------------------------------------------------------------------


def of_container(causes: Causes, path: str, context: Obj, *, host_users: bool) -> None:
    checks.user_id(causes, f"{path}.runAsUser", context.get("runAsUser"))
    checks.user_id(causes, f"{path}.runAsGroup", context.get("runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        checks.one_of(causes, f"{path}.procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            causes.append(field_invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    _seccomp(causes, f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            causes.append(godump.invalid(path, "core.SecurityContext", context, detail))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            causes.append(godump.invalid(path, "core.SecurityContext", context, detail))
    _app_armor(causes, f"{path}.appArmorProfile", context.get("appArmorProfile"))


# --- profiles -------------------------------------------------------------------------------------


def _seccomp(causes: Causes, path: str, profile: Obj | None) -> None:
    if profile is None:
        return
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        causes.append(field_required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        causes.append(field_not_supported(f"{path}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            causes.append(field_required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            paths.local_descending(causes, f"{path}.localhostProfile", local)
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        causes.append(godump.invalid(f"{path}.localhostProfile", "core.SeccompProfile", profile, detail))


def _app_armor(causes: Causes, path: str, profile: Obj | None) -> None:
    if profile is None:
        return
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    here = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None:
            causes.append(field_required(here, "must be set when AppArmor type is Localhost"))
            return
        if local.strip() != local:
            causes.append(field_invalid(here, local, "must not be padded with whitespace"))
        elif not local:
            causes.append(field_required(here, "must be set when AppArmor type is Localhost"))
        if len(local) > _MAX_PROFILE:
            causes.append(too_long(here, _MAX_PROFILE))
    elif kind in _PROFILES:
        if local is not None:
            causes.append(field_invalid(here, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        causes.append(field_required(f"{path}.type", "type is required when appArmorProfile is set"))
    else:
        causes.append(field_not_supported(f"{path}.type", kind, _PROFILES))


# --- annotations from before the fields -----------------------------------------------------------


def old_annotations(causes: Causes, path: str, found: Obj, spec: Obj) -> None:
    for key, profile in found.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            _seccomp_text(causes, f"{path}.{key}", profile)
    for key, profile in found.items():
        if not key.startswith(APPARMOR_CONTAINER):
            continue
        name = key.removeprefix(APPARMOR_CONTAINER)
        if not any(container.get("name") == name for container in _all_containers(spec)):
            causes.append(field_invalid(f"{path}[{key}]", name, "container not found"))
        if profile not in ("", "runtime/default", "unconfined") and not profile.startswith("localhost/"):
            causes.append(field_invalid(f"{path}[{key}]", profile, f'invalid AppArmor profile name: "{profile}"'))


def _seccomp_text(causes: Causes, path: str, profile: str) -> None:
    if profile.startswith("localhost/"):
        paths.local_descending(causes, path, profile.removeprefix("localhost/"))
    elif profile not in ("runtime/default", "docker/default", "unconfined"):
        causes.append(field_invalid(path, profile, "must be a valid seccomp profile"))


def _all_containers(spec: Obj) -> Iterator[Obj]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def old_annotations_match(causes: Causes, path: str, found: Obj, spec: Obj) -> None:
    """An annotation and the field that took its place say the same."""
    pod = spec.get("securityContext") or {}
    if SECCOMP_POD in found and "seccompProfile" in pod:
        _match(causes, f"{path}.securityContext.seccompProfile", found[SECCOMP_POD], pod["seccompProfile"], "seccomp")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            own = container.get("securityContext") or {}
            here, name = f"{path}.{kind}[{index}].securityContext", container.get("name", "")
            seccomp, armor = found.get(SECCOMP_CONTAINER + name), found.get(APPARMOR_CONTAINER + name)
            if seccomp is not None and "seccompProfile" in own:
                _match(causes, f"{here}.seccompProfile", seccomp, own["seccompProfile"], "seccomp")
            profile = own.get("appArmorProfile") or pod.get("appArmorProfile")
            if armor is not None and profile and (spec.get("os") or {}).get("name") != "windows":
                _match(causes, f"{here}.appArmorProfile", armor, profile, "apparmor")


_ANNOTATED = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}


def _match(causes: Causes, path: str, annotation: str, profile: Obj, kind: str) -> None:
    type_ = profile.get("type", "")
    if type_ == "Localhost":
        if not annotation.startswith("localhost/"):
            causes.append(field_forbidden(f"{path}.type", f"{kind} type in annotation and field must match"))
        elif annotation.removeprefix("localhost/") != profile.get("localhostProfile"):
            detail = f"{kind} profile in annotation and field must match"
            causes.append(field_forbidden(f"{path}.localhostProfile", detail))
    elif type_ in _ANNOTATED and annotation not in _ANNOTATED[type_]:
        causes.append(field_forbidden(f"{path}.type", f"{kind} type in annotation and field must match"))
