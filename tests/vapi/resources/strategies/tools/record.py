"""Ask a real API server again what tests/…/recorded/*.json says: `record.py KUBECONFIG FILE…`.

The server needs no plugins (`--disable-admission-plugins` all but NamespaceLifecycle is nearest). Cases can be
written by hand with a title and steps; their answers are filled in. Objects that the steps make are deleted.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.vapi.resources.strategies.asked import OK, Answer, Case, Step, causes_of


class Server:
    """With the certificate of a kubeconfig's only user."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = cluster["server"]
        self.tls = ssl.create_default_context(cafile=_file(cluster, "certificate-authority"))
        self.tls.load_cert_chain(_file(user, "client-certificate"), _file(user, "client-key"))
        self.namespaced: dict[tuple[str, str], bool] = {}

    def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Any, list[str]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls) as answer:
                return OK, json.load(answer), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), []

    def collection(self, version: str, plural: str) -> str:
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, plural) not in self.namespaced:
            for listed in self.call("GET", base)[1]["resources"]:
                self.namespaced[version, listed["name"]] = listed["namespaced"]
        return f"{base}/namespaces/default/{plural}" if self.namespaced[version, plural] else f"{base}/{plural}"

    def ask(self, case: Case) -> Answer:
        steps: list[Step] = case["steps"]
        code, warnings = OK, list[str]()
        body: Any = {}
        for step in steps:
            place = self.collection(step[1], step[2])
            if step[0] == "POST":
                place += "?dryRun=All" if step is steps[-1] else ""
                code, body, warnings = self.call("POST", place, step[3])
            else:
                place += f"/{step[3]}/{step[5]}".rstrip("/")
                code, body, warnings = self.call("PATCH", place, step[4], "application/merge-patch+json")
        if len(steps) > 1:
            place = self.collection(steps[0][1], steps[0][2])
            self.call(
                "DELETE", f"{place}/{steps[0][3]['metadata']['name']}?gracePeriodSeconds=0&propagationPolicy=Background"
            )
        texts = tuple(each[7:-1].replace('\\"', '"') for each in warnings)
        return Answer(code, causes_of(body) if code != OK else (), texts if code == OK else ())


def _file(table: dict[str, str], key: str) -> str:
    if key in table:
        return table[key]
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(base64.b64decode(table[f"{key}-data"]))
    return file.name


def written(case: Case, answer: Answer) -> Case:
    found: Case = {"title": case["title"], "steps": case["steps"], "code": answer.code}
    if answer.causes:
        found["causes"] = list(answer.causes)
    if answer.warnings:
        found["warnings"] = list(answer.warnings)
    if case.get("any order"):
        found["any order"] = True
    return found


def main(kubeconfig: str, *files: str) -> None:
    server = Server(Path(kubeconfig))
    for name in files:
        path = Path(name)
        cases = [written(case, server.ask(case)) for case in json.loads(path.read_text())]
        path.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
