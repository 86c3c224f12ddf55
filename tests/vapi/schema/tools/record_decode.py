"""Send `decode_cases.CASES` to a real kube-apiserver and keep what it answers.

    python -m tests.vapi.schema.tools.record_decode KUBECONFIG tests/vapi/schema/data/decode_recorded.json

Of an answer kept are: code, message, warnings, and the object on success (its metadata: what the client sent only).
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

from tests.vapi.schema.tools import decode_cases

SERVER_METADATA = ("uid", "managedFields", "namespace", "creationTimestamp", "resourceVersion", "generation")


class Server:
    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = cluster["server"]
        self.context = ssl.create_default_context(cadata=self._text(cluster, "certificate-authority"))
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for key in ("client-certificate", "client-key"):
                files.append(Path(folder) / key)
                files[-1].write_text(self._text(user, key))
            self.context.load_cert_chain(files[0], files[1])

    @staticmethod
    def _text(section: dict[str, Any], key: str) -> str:
        data = section.get(f"{key}-data")
        return base64.b64decode(data).decode() if data else Path(section[key]).read_text()

    def post(self, path: str, content_type: str, body: bytes) -> tuple[int, list[str], Any]:
        request = urllib.request.Request(
            self.url + path, data=body, method="POST", headers={"Content-Type": content_type}
        )
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return answer.status, answer.headers.get_all("Warning") or [], json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get_all("Warning") or [], json.loads(error.read())


def kept(code: int, warnings: list[str], answer: Any) -> dict[str, Any]:
    if answer["kind"] == "Status":
        return {"code": code, "warnings": warnings, "message": answer["message"]}
    for key in SERVER_METADATA:
        answer["metadata"].pop(key, None)
    return {"code": code, "warnings": warnings, "object": answer}


def main(kubeconfig: Path, target: Path) -> None:
    server = Server(kubeconfig)
    lines = []
    for path, content_type, body in decode_cases.CASES:
        one: dict[str, Any] = {"path": path, "contentType": content_type, "body": body}
        for validation in ("Warn", "Strict"):
            where = f"{path}?dryRun=All&fieldValidation={validation}"
            one[validation] = kept(*server.post(where, content_type, body.encode()))
        lines.append(json.dumps(one, separators=(",", ":")))
    target.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} cases, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
