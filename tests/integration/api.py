"""Api: a client of one API server over one connection, for tests that make thousands of small requests."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.vapi_process import Refused

Obj = dict[str, Any]

MERGE = "application/merge-patch+json"
JSON = "application/json"


class Api:
    """As the admin of `kubeconfig`; `port`: of this machine, where the file names another address."""

    def __init__(self, kubeconfig: Path, *, port: int | None = None) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            self._tls.load_cert_chain(pair.name)
        where = urlsplit(cluster["server"])
        self._address = ("127.0.0.1", port) if port else (where.hostname or "", where.port or 443)
        self._connection: http.client.HTTPSConnection | None = None

    def call(self, method: str, path: str, body: Any = None, *, content: str = JSON) -> Any:
        """The decoded answer. Raises Refused, OSError (what was asked for may have been done)."""
        data = json.dumps(body).encode() if body is not None else None
        connection = self._connection or http.client.HTTPSConnection(
            self._address[0], self._address[1], timeout=30, context=self._tls
        )
        self._connection = None
        try:
            connection.request(method, path, data, {"Content-Type": content, "Accept": JSON})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ConnectionError(str(error)) from error
        self._connection = connection
        if answer.status >= 400:
            raise Refused(answer.status, text.decode())
        return json.loads(text)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def find(self, path: str) -> Obj | None:
        """None if there is none."""
        try:
            found: Obj = self.call("GET", path)
            return found
        except Refused as error:
            if error.code == 404:
                return None
            raise

    def items(self, path: str) -> list[Obj]:
        found: list[Obj] = self.call("GET", path)["items"]
        return found

    def merge(self, path: str, patch: Obj) -> Obj:
        found: Obj = self.call("PATCH", path, patch, content=MERGE)
        return found
