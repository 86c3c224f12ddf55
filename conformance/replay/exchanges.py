"""Files that are lists of requests and answers, sent in order."""

from __future__ import annotations

import json
import random
import re
import string
import time
from collections.abc import Mapping
from typing import Any

from conformance import client
from conformance.client import Answer, Server
from conformance.replay import normal

HEADERS = ("Content-Type", "Warning", "Retry-After")  # the ones that count, if an entry does not ask for more
POLL_S = 0.2  # between two tries of an entry with `until`: a guess
POLL_LIMIT_S = 20.0  # kube-controller-manager was never seen to need more than 4
REFERENCE = re.compile(r"<(\d+):([\w./-]+)>")  # a value out of an earlier answer: <7:metadata.uid>
_SPACE = re.compile(r"namespaces/(replay-[a-z]+)")
# Need → a question to which the answer is 410 if it is met, and what is the matter if it is not.
_OLD_VERSION = {
    "compaction": ("/api/v1/configmaps?limit=1&resourceVersionMatch=Exact&", "the server has not compacted yet"),
    "window": ("/api/v1/configmaps?watch=true&", "the server still has all events since its start"),
}


def observe(server: Server, golden: list[Any]) -> list[Any]:
    """Send every request in order. Returns the list with this server's answers; `skipped`: why one was not sent."""
    suffix = "-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
    texts = [json.dumps(entry["request"]) for entry in golden]
    spaces = {m[1] for text in texts for m in _SPACE.finditer(text)}
    own = {e["request"]["body"]["metadata"]["name"] for e in golden if _creates_namespace(e["request"])}
    known = re.compile(rf"\b({'|'.join(spaces | own) or '$^'})\b(?!-)")
    normaliser = normal.Normaliser({name + suffix: name for name in spaces | own})
    tidy(server, golden)
    for name in spaces - own:
        _create_namespace(server, name + suffix)
    answers: list[Any] = []
    observed = []
    try:
        for entry, text in zip(golden, texts, strict=True):
            request = json.loads(known.sub(lambda m: m[0] + suffix, text))
            answer, seen = _exchange(server, entry, request, answers, normaliser)
            answers.append(answer)
            observed.append(seen)
    finally:
        for name in spaces | own:
            server.send("DELETE", f"/api/v1/namespaces/{name + suffix}/pods?gracePeriodSeconds=0")
            server.send("DELETE", f"/api/v1/namespaces/{name + suffix}")
        tidy(server, golden)
    return observed


def _exchange(
    server: Server, entry: Mapping[str, Any], request: Any, answers: list[Any], normaliser: normal.Normaliser
) -> tuple[Any, Any]:
    """The decoded answer, which later requests refer to, and the entry as this server would have it recorded."""
    if missing := _what_is_missing(server, entry):
        return {}, {**entry, "skipped": missing}
    answer = ask(server, resolve(request, answers), resolve(entry.get("as", client.ADMIN), answers), entry.get("until"))
    if _creates_namespace(request) and answer.status == 201:
        _wait_for_namespace(server, request["body"]["metadata"]["name"])
    return answer.json(), written(entry, answer, normaliser)


def ask(server: Server, request: Mapping[str, Any], who: str, until: Mapping[str, Any] | None) -> Answer:
    """Send one request, again and again until it is answered as `until` says, or POLL_LIMIT_S is over."""
    headers = dict(request.get("headers", {}))
    if request.get("accept"):
        headers["Accept"] = request["accept"]
    if request.get("contentType"):
        headers["Content-Type"] = request["contentType"]
    body, end = encode(request.get("body")), time.monotonic() + POLL_LIMIT_S
    while True:
        raw = server.send(request["method"], request["path"], body, headers, who)
        answer = {"status": raw.status, "headers": dict(raw.headers), "response": raw.json()}
        found = {path: look_up(answer, path) for path in until or {}}
        if all(v == (until or {})[p] or (v and (until or {})[p] == "<any>") for p, v in found.items()):
            return raw
        if time.monotonic() > end:
            return raw
        time.sleep(POLL_S)


def encode(body: Any) -> bytes | None:
    """Text is sent as it stands, so that it can be wrong; "(3.2 MB)" is a ConfigMap with that much in it."""
    if isinstance(body, str) and (size := re.fullmatch(r"\(([\d.]+) MB\)", body)):
        data = {"a": "x" * int(float(size[1]) * 1_000_000)}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": data}
    if body is None:
        return None
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def written(entry: Mapping[str, Any], answer: Answer, normaliser: normal.Normaliser) -> dict[str, Any]:
    """An entry as it stands in a file: as it was, with the answer now received."""
    path, sent = entry["request"]["path"], json.dumps(entry["request"])
    out = {k: v for k, v in entry.items() if k not in ("status", "headers", "response", "events")}
    headers: dict[str, Any] = {}
    for name in (*HEADERS, *entry.get("keep", ())):
        if values := [normaliser.text(v) for v in answer.headers.get_all(name) or []]:
            headers[name] = values[0] if len(values) == 1 else values
    out |= {"status": answer.status, "headers": headers}
    stream = "watch" in path and answer.status == 200
    lines = [normaliser.body(line, sent) for line in answer.body.splitlines()] if stream else []
    if stream and all(isinstance(event, dict) and "type" in event for event in lines):
        out["events"] = [e for e in lines if e["type"] != "BOOKMARK" or "initial-events-end" in json.dumps(e)]
    else:
        out["response"] = normaliser.body(answer.body, sent)
    for loose in entry.get("loose", ()):
        _loosen(out, loose.split("."))
    return out


def _loosen(value: Any, path: list[str]) -> None:
    """Put "<any>" where `path` leads, so that neither what stands there nor whether it does counts."""
    for step in path[:-1]:
        value = _step_into(value, step)
    if isinstance(value, dict):
        value[path[-1]] = "<any>"


def _what_is_missing(server: Server, entry: Mapping[str, Any]) -> str:
    """Why an entry cannot be sent here and now; empty if it can."""
    need = entry.get("needs")
    if need == "certificate":
        return "" if server.ca_dir else "no --ca-dir"
    if need in _OLD_VERSION:
        path, why = _OLD_VERSION[need]
        answer = server.send("GET", f"{path}resourceVersion=1&timeoutSeconds=1")
        return "" if b'"code":410' in answer.body else why
    return ""


def resolve(value: Any, answers: list[Any]) -> Any:
    """Put values of earlier answers in the place of references."""
    text = json.dumps(value)
    return json.loads(REFERENCE.sub(lambda m: json.dumps(str(look_up(answers[int(m[1])], m[2])))[1:-1], text))


def look_up(value: Any, path: str) -> Any:
    """What `path` leads to, steps joined by dots; None if nothing."""
    for step in path.split("."):
        value = _step_into(value, step)
    return value


def _step_into(value: Any, step: str) -> Any:
    """A key of an object, an index of a list, or the element of a list whose type or name is `step`."""
    if isinstance(value, list):
        return next((x for i, x in enumerate(value) if step == str(i) or step in _names(x)), None)
    return value.get(step) if isinstance(value, dict) else None


def _names(element: Any) -> tuple[Any, ...]:
    return (element.get("type"), element.get("name")) if isinstance(element, dict) else ()


def _creates_namespace(request: Mapping[str, Any]) -> bool:
    return bool(request["method"] == "POST" and request["path"] == "/api/v1/namespaces")


def _create_namespace(server: Server, name: str) -> None:
    body = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).encode()
    server.send("POST", "/api/v1/namespaces", body, {"Content-Type": "application/json"})
    _wait_for_namespace(server, name)


def _wait_for_namespace(server: Server, name: str) -> None:
    """Until the controllers have put in what every namespace gets; pods are refused before."""
    end = time.monotonic() + POLL_LIMIT_S
    for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
        while server.get(f"/api/v1/namespaces/{name}/{path}") is None and time.monotonic() < end:
            time.sleep(POLL_S)


def tidy(server: Server, golden: list[Any]) -> None:
    """Delete what the requests create outside namespaces, and wait until it is gone."""
    made = [path for entry in golden if (path := _made_outside(entry["request"]))]
    for path in made:
        if server.get(path) is not None:
            server.send("DELETE", path)
    end = time.monotonic() + POLL_LIMIT_S
    for path in made:
        while server.get(path) is not None and time.monotonic() < end:
            time.sleep(POLL_S)


def _made_outside(request: Mapping[str, Any]) -> str:
    """The path of the object that a request creates outside namespaces; empty if it creates none."""
    path, body = request["path"].split("?")[0], request.get("body")
    creates = request["method"] == "POST" and isinstance(body, dict) and "dryRun" not in request["path"]
    if not creates or "/namespaces" in path:
        return ""
    name = (body or {}).get("metadata", {}).get("name")
    return f"{path}/{name}" if name else ""
