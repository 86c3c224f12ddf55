"""Virtual clusters beside the one under test, each started with certain options when the first check asks for it.

`--start COMMAND` says how: `COMMAND VARIANT` prints one line of JSON, `{"kubeconfig": …, "namespace": …, "name": …}`,
once that cluster answers (the latter two are where it lives on the host, and what ends names there), runs it until its
standard input ends, and then takes it away. `start-vapi` is that command for vapi. A variant it does not know ends
with another code than 0.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from kubernetes import client

from conformance.checks.setting import CORE, Host, Obj, Setting, Unmet, connect, get, send, until

END_S = 60.0
"""For taking a cluster away; then it is killed."""


@dataclass(frozen=True, slots=True)
class Cluster:
    api: client.ApiClient
    kubeconfig: Path
    below: Host


class Clusters:
    """Thread-safe; each variant is started once."""

    def __init__(self, command: str, host: client.ApiClient) -> None:
        self._command = shlex.split(command)
        self._host = host
        self._lock = threading.Lock()
        self._running: dict[str, Cluster | Unmet] = {}
        self._processes: list[subprocess.Popen[str]] = []

    def setting(self, variant: str, namespace: str) -> Setting:
        """With a namespace of that name in it. Raises Unmet."""
        found = self.cluster(variant)
        setting = Setting(found.api, found.kubeconfig, namespace, False, found.below)
        if get(found.api, f"{CORE}/namespaces/{namespace}") is None:
            make_namespace(setting)
        return setting

    def cluster(self, variant: str) -> Cluster:
        """Raises Unmet if it cannot be started, the same each time."""
        with self._lock:
            if variant not in self._running:
                self._running[variant] = self._started(variant)
            found = self._running[variant]
        if isinstance(found, Unmet):
            raise found
        return found

    def _started(self, variant: str) -> Cluster | Unmet:
        # a session of its own: Ctrl-C ends it through its input, not at once
        process = subprocess.Popen(
            [*self._command, variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            return Unmet(f"needs a virtual cluster with {variant}, which {self._command[0]} does not start")
        said = json.loads(line)
        kubeconfig = Path(said["kubeconfig"])
        return Cluster(connect(kubeconfig), kubeconfig, Host(self._host, said["namespace"], said["name"]))

    def close(self) -> None:
        """Take all of them away; waits for it."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()


def make_namespace(setting: Setting) -> Obj:
    """That of the setting, and wait until pods can be made in it."""
    made = send(setting.api, "POST", f"{CORE}/namespaces", {"metadata": {"name": setting.namespace}})
    until(lambda: setting.get("serviceaccounts", "default"), lambda found: True, "the default service account")
    return made
