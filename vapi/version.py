"""The versions we answer with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

KUBERNETES_MAJOR = 1
KUBERNETES_MINOR = 37
KUBERNETES_VERSION = "v1.37.1"
"""Whose API, defaults and texts are served."""


def _version() -> str:
    try:
        return version("vapi")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0.0.0"


VERSION = _version()
