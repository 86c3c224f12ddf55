"""Differential: the same random requests to a real kube-apiserver and to vapi; every difference, ranked by cause.

    hostcluster.py up --api-only --dir /tmp/real --port 20443
    python -m tests.tools.differential --real /tmp/real/admin.kubeconfig --count 5000 --seed 1 [--only pods,services]

The real server runs without controllers, so ours does too: it is the API of
`tests.tools.fuzz` in this process, on a memory store. What cannot be the same
(uids, versions, times, generated names) is replaced before comparing. An object
that differs is deleted on both sides, so that one cause does not make ten.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import re
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import yaml

from storage.memory import MemoryStore
from tests.tools.fuzz import server
from tests.tools.requests import MILD, Requests, Sent
from vapi.auth import bootstrap
from vapi.endpoints.dispatch import Dispatcher
from vapi.endpoints.http import ApiRequest, PlainHeaders, read_all
from vapi.resources.resource import Resource

LEFT_OUT = (
    # one wrong row of these and the real server refuses everything, or keeps asking somebody
    "admissionregistration.k8s.io", "apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io", "apiextensions.k8s.io",
)  # fmt: skip
UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)( m=\S+)?")
GENERATED = re.compile(r"kube-api-access-[a-z0-9]{5}")
RECORD = re.compile(r"(in record |current: |resource version: |precondition )\(?\d+( \(\d+)?\)?")
OURS_ALONE = re.compile(r"stored (only|but)|not acted on|no controller")
"""In warnings about kinds that are stored only."""
NAMES = ("o1", "o2", "o3", "a", "b", "x")
"""What objects are called; what other names noise makes stays behind."""
MAX_EXAMPLE = 1_500


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    """Decoded JSON, or text."""
    warnings: tuple[str, ...]


# --- the two servers -------------------------------------------------------------------------------


class RealServer:
    """One keep-alive connection with the admin's certificate. Blocks: this is a tool."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_inline(cluster, "certificate-authority").decode())
        with tempfile.NamedTemporaryFile() as both:
            both.write(_inline(user, "client-certificate") + b"\n" + _inline(user, "client-key"))
            both.flush()
            context.load_cert_chain(both.name)
        address = urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=context, timeout=70
        )

    def send(self, sent: Sent) -> Answer:
        headers = {
            name: value.encode("utf-8", "surrogateescape")
            for name, value in sent.headers.items()
            if value or name != "Accept"
        }
        for again in (True, False):
            try:
                self._connection.request(sent.method, sent.target, sent.body or None, headers)
                response = self._connection.getresponse()
                break
            except (http.client.HTTPException, ConnectionError):
                # it closes a connection after some refusals; the next request opens another
                self._connection.close()
                if not again:
                    return Answer(0, "no answer", ())
        data = response.read()
        return Answer(
            response.status,
            _decoded(data),
            tuple(text.encode("latin-1").decode() for text in response.headers.get_all("Warning") or ()),
        )

    def close(self) -> None:
        self._connection.close()


def _inline(part: dict[str, str], name: str) -> bytes:
    data = part.get(f"{name}-data")
    return base64.b64decode(data) if data else Path(part[name]).read_bytes()


class OurServer:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def send(self, sent: Sent) -> Answer:
        headers = {"Authorization": "Bearer admin", **sent.headers}
        response = await self._dispatcher.dispatch(
            ApiRequest(sent.method, sent.target, PlainHeaders(headers), sent.body)
        )
        warnings = tuple(value for name, value in response.headers if name == "Warning")
        return Answer(response.status, _decoded(await read_all(response)), warnings)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


# --- what must not differ --------------------------------------------------------------------------


class Twins:
    """Our uids and versions → the real ones, learnt from answers to the same request."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def learn(self, ours: Any, real: Any) -> None:
        if not isinstance(ours, dict) or not isinstance(real, dict):
            return
        for our, their in [(ours, real), *zip(ours.get("items") or (), real.get("items") or (), strict=False)]:
            one, other = our.get("metadata") or {}, their.get("metadata") or {}
            if one.get("uid") and other.get("uid"):
                self._real[one["uid"]] = other["uid"]
            if one.get("resourceVersion") and other.get("resourceVersion"):
                self._versions[one["resourceVersion"]] = other["resourceVersion"]

    def translated(self, sent: Sent) -> Sent:
        """The request for the real server."""
        body = sent.body.decode()
        body = UID.sub(lambda found: self._real.get(found[0], found[0]), body)
        body = re.sub(
            r'("resourceVersion": ")(\d+)"', lambda found: f'{found[1]}{self._versions.get(found[2], found[2])}"', body
        )
        return Sent(sent.method, sent.target, sent.headers, body.encode())


def normal(value: Any, key: str = "") -> Any:
    """`value` without what two servers cannot agree on."""
    if isinstance(value, dict):
        return {name: normal(member, name) for name, member in sorted(value.items()) if name not in _DROPPED}
    if isinstance(value, list):
        if key == "managedFields":
            value = sorted(
                value,
                key=lambda entry: json.dumps(
                    [entry.get("manager"), entry.get("operation"), entry.get("subresource", "")]
                ),
            )
        return [normal(item) for item in value]
    if isinstance(value, str):
        if key == "resourceVersion" and value.isdigit():
            return "RV"
        return normal_text(value)
    return value


_DROPPED = ("continue",)


PATCHED = re.compile(r'(patch: |^)Invalid value: ".*": ', re.DOTALL)
"""The dump of a patched object, whose keys stand in another order."""


def normal_text(text: str) -> str:
    text = PATCHED.sub(r"\1Invalid value: OBJECT: ", text) if len(text) > 400 else text
    text = re.sub(r'resourceVersion: "\d+"', "RV", text)
    text = re.sub(r'in scheme "[^"]*"', "in scheme", text)  # a source line, other in every build
    text = GENERATED.sub("kube-api-access-x", text)
    text = RECORD.sub(r"\1RV", text)
    return TIME.sub("TIME", UID.sub("UID", text))


def differences(real: Any, ours: Any, path: str = "") -> list[str]:
    """`path: real → ours`, for every leaf that differs."""
    if isinstance(real, dict) and isinstance(ours, dict):
        found = []
        for key in sorted(real.keys() | ours.keys()):
            if key not in ours:
                found.append(f"{path}.{key}: missing, real {_short(real[key])}")
            elif key not in real:
                found.append(f"{path}.{key}: extra, ours {_short(ours[key])}")
            else:
                found += differences(real[key], ours[key], f"{path}.{key}")
        return found
    if isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        return [text for one, other in zip(real, ours, strict=True) for text in differences(one, other, f"{path}[]")]
    if json.dumps(real) == json.dumps(ours):
        return []
    return [f"{path}: real {_short(real)}, ours {_short(ours)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 600 else text[:600] + "…"


def cause_of(sent: Sent, real: Answer, ours: Answer, found: list[str]) -> str:
    """What differences are counted under: the verb, and what differs without names and values."""
    media = sent.headers.get("Content-Type", "").removeprefix("application/") if sent.method == "PATCH" else ""
    what = f"{sent.method} {media}".strip()
    if real.status != ours.status:
        return f"{what}: real {real.status} {_template(real.body)}, ours {ours.status} {_template(ours.body)}"
    if real.status >= 400:
        return f"{what}: {real.status} real {_template(real.body)}, ours {_template(ours.body)}"
    where = ",".join(dict.fromkeys(text.partition(": ")[0] for text in found))
    return f"{resource_of(sent.target)} {what}: {real.status} {where[:160]}"


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')


def _template(body: Any) -> str:
    """A message without what it quotes."""
    text = body.get("message", "") if isinstance(body, dict) else str(body)
    text = re.sub(r"\d+", "N", _QUOTED.sub('""', text))
    return re.sub(r"\b[a-z]+(\.[a-z0-9.]+)+ (?=\"\")|\b[A-Z]\w+(\.[a-z0-9.]+)? (?=\"\")", "", text)[:110]


def resource_of(target: str) -> str:
    """Plural and subresource."""
    parts = urlsplit(target).path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    plural, _, *sub = [*rest, "", ""]
    return f"{plural}/{sub[0]}".rstrip("/")


# --- the run ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Report:
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    sent: int = 0
    same: int = 0

    def add(self, cause: str, example: str) -> None:
        self.counts[cause] = self.counts.get(cause, 0) + 1
        examples = self.examples.setdefault(cause, [])
        if len(examples) < 3:
            examples.append(example)

    def __str__(self) -> str:
        ranked = sorted(self.counts, key=self.counts.__getitem__, reverse=True)
        lines = [f"{self.sent} requests, {self.same} answered alike, {len(ranked)} causes"]
        for cause in ranked:
            lines.append(f"\n=== {self.counts[cause]} × {cause}")
            lines += self.examples[cause]
        return "\n".join(lines)


class Run:
    def __init__(self, real: RealServer, ours: OurServer, requests: Requests) -> None:
        self._real = real
        self._ours = ours
        self._requests = requests
        self._twins = Twins()
        self.report = Report()

    async def prepare(self) -> None:
        """What both need: the namespace of the requests, emptied, and the account of its pods."""
        for path, obj in _PREPARED:
            sent = _json("POST", path, obj)
            await self._ours.send(sent)
            self._real.send(sent)

    async def step(self) -> None:
        sent = self._requests.next()
        if "watch=" in sent.target or "timeout" in sent.target:
            return
        real, ours = self._real.send(self._twins.translated(sent)), await self._ours.send(sent)
        self.report.sent += 1
        self._twins.learn(ours.body, real.body)
        path = urlsplit(sent.target).path
        found = differences(normal(real.body), normal(ours.body)) if real.status == ours.status else []
        one = tuple(map(normal_text, real.warnings))
        other = tuple(normal_text(text) for text in ours.warnings if not OURS_ALONE.search(text))
        if one != other:
            found.append(f".warnings: real {one}, ours {other}")
        if real.status == ours.status and not found:
            self.report.same += 1
            if _leaves_an_object(sent, ours):
                self._requests.remember(_object_path(path, ours.body), ours.body)
            return
        text = f"{sent.method} {sent.target} {sent.headers.get('Content-Type', '')} {sent.body.decode()[:MAX_EXAMPLE]}"
        text += "\n    " + (
            "\n    ".join(found[:12])
            if real.status == ours.status
            else f"real {real.status} {_short(real.body)}\n    ours {ours.status} {_short(ours.body)}"
        )
        self.report.add(cause_of(sent, real, ours, found), text)
        await self._purge(path)

    async def _purge(self, path: str) -> None:
        """Take what differed from both sides, whatever holds it."""
        parts = path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            rest = rest[2:]
        base = "/" + "/".join(parts[: len(parts) - len(rest) + 1])
        for name in NAMES:
            await self.remove(f"{base}/{name}")

    async def remove(self, target: str) -> None:
        self._requests.forget(target)
        patch = _json("PATCH", target, {"metadata": {"finalizers": None}})
        patch.headers["Content-Type"] = "application/merge-patch+json"
        delete = Sent(
            "DELETE", f"{target}?gracePeriodSeconds=0&propagationPolicy=Background", {"Accept": "application/json"}, b""
        )
        for sent in (patch, delete):
            await self._ours.send(sent)
            self._real.send(sent)


_PREPARED = (
    ("/api/v1/namespaces", {"metadata": {"name": "default"}}),
    ("/api/v1/namespaces", {"metadata": {"name": "fuzz"}}),
    ("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}),
    ("/api/v1/namespaces/fuzz/serviceaccounts", {"metadata": {"name": "default"}}),
)


def _json(method: str, target: str, obj: Any) -> Sent:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    return Sent(method, target, headers, json.dumps(obj).encode())


def _leaves_an_object(sent: Sent, answer: Answer) -> bool:
    body = answer.body
    return (
        answer.status < 300
        and isinstance(body, dict)
        and "items" not in body
        and body.get("kind") not in ("Status", "Scale")
        and sent.method != "DELETE"
        and "dryRun" not in sent.target
    )


def _object_path(path: str, obj: dict[str, Any]) -> str:
    """Of the object in an answer, whichever endpoint gave it."""
    name = str((obj.get("metadata") or {}).get("name", ""))
    parts = path.split("/")
    while len(parts) > 3 and parts[-1] != name:
        if parts[-1] == obj.get("kind", "").lower():
            break
        if name in parts:
            parts.pop()
        else:
            return path.rstrip("/") + "/" + name
    return "/".join(parts)


def chosen_rows(rows: Iterable[Resource], only: str) -> list[Resource]:
    """Those of `only` (plurals, separated by commas); all but namespaces, which no controller ever empties here."""
    wanted = [name for name in only.split(",") if name]
    found = [row for row in rows if row.stored is not None and row.gvr.group not in LEFT_OUT]
    return [row for row in found if row.gvr.resource in wanted or (not wanted and row.kind != "Namespace")]


async def compare(kubeconfig: Path, seed: int, count: int, only: str) -> Report:
    store = MemoryStore()
    try:
        async with server(store, protect_storage=True) as (plane, dispatcher):
            rows = chosen_rows(plane.catalog.rows, only)
            requests = Requests(Random(seed), rows, MILD)
            await bootstrap.ensure_bootstrap(plane.client("bootstrap"), plane.clock)
            run = Run(RealServer(kubeconfig), OurServer(dispatcher), requests)
            await run.prepare()
            for row in rows:
                for namespace in ("default", "fuzz") if row.namespaced else ("",):
                    base = f"/apis/{row.gvr.group}/{row.gvr.version}" if row.gvr.group else "/api/v1"
                    base += f"/namespaces/{namespace}" if namespace else ""
                    for name in NAMES:
                        await run.remove(f"{base}/{row.gvr.resource}/{name}")
            for _ in range(count):
                await run.step()
            return run.report
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="kubeconfig of the real server")
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="plurals, separated by commas")
    chosen = parser.parse_args()
    print(asyncio.run(compare(chosen.real, chosen.seed, chosen.count, chosen.only)))


if __name__ == "__main__":
    main()
