"""Continue tokens: where a list in pages goes on: a revision and the next key, so any replica serves them.

The form is kube-apiserver's (base64url without padding of a small JSON), so that its errors are worded alike.
`rv` -1 asks for the rest at whatever revision is current ("inconsistent continuation").
Source: apiserver storage/continue.go.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

from vapi import encoding, errors
from vapi.registry import gotext

VERSION = "meta.k8s.io/v1"
NOW = -1


@dataclass(frozen=True, slots=True)
class ContinueToken:
    """`start` is relative to the kind's (or namespace's) prefix and begins with `/`."""

    revision: int
    start: str


def encode(token: ContinueToken) -> str:
    body = encoding.dumps({"v": VERSION, "rv": token.revision, "start": token.start})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def decode(text: str) -> ContinueToken:
    """Raises ApiError 400."""
    legal = _LEGAL.match(text)
    good = legal.end() if legal else 0
    if good < len(text) or good % 4 == 1:
        # b64decode would leave out what it does not know
        raise _invalid(f"illegal base64 data at input byte {good if good < len(text) else good - 1}")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    try:
        body = encoding.loads(data)
    except ValueError:
        first = data.decode("latin-1")[:1]
        raise _invalid(f"invalid character '{first}' looking for beginning of value") from None
    body = {} if body is None else body
    if not isinstance(body, dict):
        raise _invalid(_cannot(body, "value of type storage.continueToken"))
    for name, (type_, go_type) in _FIELDS.items():
        if body.get(name) is not None and type(body[name]) is not type_:
            raise _invalid(_cannot(body[name], f"struct field continueToken.{name} of type {go_type}"))
    if body.get("v") != VERSION:
        raise _invalid(f"server does not recognize this encoded version {body.get('v') or ''}")
    revision, start = body.get("rv") or 0, body.get("start")
    if revision == 0 or revision < NOW:
        raise _invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not start:
        raise _invalid("no start key")
    if ".." in start.split("/"):
        raise _invalid(f"{start}: must not contain parent directory segments")
    return ContinueToken(revision, start.removeprefix("/"))


_LEGAL = re.compile(r"[A-Za-z0-9_-]*")
_FIELDS = {"v": (str, "string"), "rv": (int, "int64"), "start": (str, "string")}


def _cannot(value: Any, target: str) -> str:
    return f"json: cannot unmarshal {gotext.json_kind(value)} into Go {target}"


def _invalid(why: str) -> errors.ApiError:
    return errors.bad_request(f"invalid continue token: continue key is not valid: {why}")
