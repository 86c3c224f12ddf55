"""Runs our own checks, some at a time, each in a namespace of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import string
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from conformance.checks import table
from conformance.checks.clusters import Clusters, make_namespace
from conformance.checks.setting import CORE, Failed, Host, Setting, Unmet, connect, get, send
from conformance.client import BadKubeconfig
from conformance.result import Outcome, Result


@dataclasses.dataclass(frozen=True, slots=True)
class Below:
    """The cluster below, and the command that starts other virtual clusters on it; "": none."""

    host: Host
    start: str = ""


def run(
    names: Iterable[str],
    *,
    kubeconfig: Path,
    below: Below | None,
    told: Callable[[Result], None],
    parallel: int = 1,
) -> list[Result]:
    """A result for each of these names of `table.CHECKS`; `told` hears of each as it ends, in any order.

    Raises BadKubeconfig for a server that does not answer.
    """
    api = connect(kubeconfig)
    simulated = _simulates(api)
    results: dict[str, Result] = {}
    with contextlib.ExitStack() as stack:
        starter = None
        if below is not None and below.start:
            starter = Clusters(below.start, below.host.api)
            stack.callback(starter.close)
        base = Setting(api, kubeconfig, "", simulated, below.host if below else None, starter)
        pool = ThreadPoolExecutor(parallel)
        stack.callback(pool.shutdown, cancel_futures=True)  # on Ctrl-C: what runs tidies up, nothing more begins
        futures = [pool.submit(_checked, name, _fresh(base)) for name in names]
        for future in as_completed(futures):
            one = future.result()
            results[one.name] = one
            told(one)
    return [results[name] for name in names]


def _simulates(api: client.ApiClient) -> bool:
    try:
        nodes = (get(api, f"{CORE}/nodes") or {}).get("items", [])
    except (ApiException, urllib3.exceptions.HTTPError) as error:
        raise BadKubeconfig(f"no answer: {error}") from error
    return any(n["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("simulated") for n in nodes)


def _fresh(base: Setting) -> Setting:
    namespace = "check-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
    return dataclasses.replace(base, namespace=namespace, made=[], made_below=[], others=[])


def _checked(name: str, setting: Setting) -> Result:
    start = time.monotonic()
    outcome, message = Outcome.PASS, ""
    try:
        make_namespace(setting)
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


def _tidy(setting: Setting) -> None:
    for one in (setting, *setting.others):
        for path in (*one.made, f"{CORE}/namespaces/{one.namespace}"):
            _delete(one.api, path)
        if one.below is not None:
            for path in one.made_below:
                _delete(one.below.api, path)


def _delete(api: client.ApiClient, path: str) -> None:
    with contextlib.suppress(ApiException, urllib3.exceptions.HTTPError):  # gone; or the server is: the next check says
        send(api, "DELETE", path, {})


def host_of(kubeconfig: Path, namespace: str, cluster: str) -> Host:
    api: client.ApiClient = connect(kubeconfig)
    return Host(api, namespace, cluster)
