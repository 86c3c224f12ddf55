"""Runs our own checks one after the other, each in a namespace of its own."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from conformance.checks import table
from conformance.checks.setting import Failed, Host, Setting, Unmet, connect, get, send, until
from conformance.result import Outcome, Result


def run(names: Iterable[str], *, kubeconfig: Path, below: Host | None, told: Callable[[Result], None]) -> list[Result]:
    """A result for each of these names of `table.CHECKS`; `told` hears of each as it ends."""
    api, results = connect(kubeconfig), []
    nodes = (get(api, "/api/v1/nodes") or {}).get("items", [])
    simulated = any(n["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("simulated") for n in nodes)
    for name in names:
        setting = Setting(api, kubeconfig, _fresh_namespace(), simulated, below)
        results.append(_checked(name, setting))
        told(results[-1])
    return results


def _checked(name: str, setting: Setting) -> Result:
    start = time.monotonic()
    outcome, message = Outcome.PASS, ""
    try:
        _make_namespace(setting)
        table.CHECKS[name](setting)
    except Unmet as error:
        outcome, message = Outcome.SKIP, str(error)
    except Failed as error:
        outcome, message = Outcome.FAIL, str(error)
    except (ApiException, urllib3.exceptions.HTTPError, KeyError) as error:  # an answer that no server should give
        outcome, message = Outcome.FAIL, f"{type(error).__name__}: {getattr(error, 'body', '') or error}"
    finally:
        _tidy(setting)
    return Result(name, outcome, time.monotonic() - start, message)


def _fresh_namespace() -> str:
    return "check-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=5))


def _make_namespace(setting: Setting) -> None:
    send(setting.api, "POST", "/api/v1/namespaces", {"metadata": {"name": setting.namespace}})
    until(lambda: setting.get("serviceaccounts", "default"), lambda found: True, "the default service account")


def _tidy(setting: Setting) -> None:
    for path in (*setting.made, f"/api/v1/namespaces/{setting.namespace}"):
        try:
            send(setting.api, "DELETE", path, {})
        except (ApiException, urllib3.exceptions.HTTPError):
            continue  # gone already, or the server is: the next check says so


def host_of(kubeconfig: Path, namespace: str, cluster: str) -> Host:
    api: client.ApiClient = connect(kubeconfig)
    return Host(api, namespace, cluster)
