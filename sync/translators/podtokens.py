"""The tokens of a pod: which of its volumes want one, and the Secret and keys under which the host finds them.

The Secret itself is made and renewed by the tokens module; pod translation and
it agree through this page alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sync import names
from vapi.gvk import Obj

PURPOSE = "token"

DEFAULT_EXPIRATION_S = 3600
"""Of a projected token without expirationSeconds. Source: core/v1 defaults."""


@dataclass(frozen=True, slots=True)
class TokenSource:
    """One serviceAccountToken source of a projected volume. `audience` "" is the API server's own."""

    key: str
    audience: str
    expiration_s: int
    path: str


def token_secret_name(cluster: str, pod: Obj) -> str:
    """The host name of the pod's token Secret; `pod` is the virtual one."""
    metadata = pod["metadata"]
    return names.derived_name(metadata["name"], metadata["namespace"], cluster, PURPOSE)


def token_key(volume: str, position: int) -> str:
    """The key, in that Secret, of the source at `position` of the projected volume `volume`."""
    return f"{volume}.{position}"


def token_sources(pod: Obj) -> Iterator[TokenSource]:
    """All of them; a pod without any needs no Secret."""
    for volume in pod["spec"].get("volumes") or ():
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            token = source.get("serviceAccountToken")
            if token is not None:
                yield TokenSource(
                    key=token_key(volume["name"], position),
                    audience=token.get("audience") or "",
                    expiration_s=token.get("expirationSeconds") or DEFAULT_EXPIRATION_S,
                    path=token["path"],
                )


def host_source(secret: str, volume: str, position: int, token: Obj) -> Obj:
    """What the host's projected volume has in its place; the kubelet renews the file with the Secret."""
    return {"secret": {"name": secret, "items": [{"key": token_key(volume, position), "path": token["path"]}]}}
