"""`vapi …` as typed, up to the point where something would run."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from vapi.__main__ import main
from vapi.auth import certificates, kubeconfig, pki
from vapi.clock import SystemClock
from vapi.config import SETTINGS
from vapi.version import KUBERNETES_VERSION, VERSION


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


Typed = Callable[..., Result]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """Runs `vapi` with these words in an empty directory, without any VAPI_… variable."""
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.delenv("VAPI_CONFIG", raising=False)

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["vapi", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def test_version_tells_ours_and_that_of_kubernetes(typed: Typed) -> None:
    assert typed("version") == Result(0, f"vapi {VERSION} (Kubernetes {KUBERNETES_VERSION})\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_of_serve_lists_every_setting_and_gives_examples(typed: Typed, flag: str) -> None:
    result = typed("serve", flag)
    assert (result.code, result.err) == (0, "")
    for setting in SETTINGS:
        assert f"{setting.flag} {setting.metavar}" in result.out
        assert setting.variable in "".join(result.out.split())  # wrapped anywhere
    assert "Examples:\n    vapi serve " in result.out


def test_vapi_alone_shows_what_there_is_to_type(typed: Typed) -> None:
    result = typed()
    assert result.code == 2
    for word in ("serve", "kubeconfig", "version", "Examples:"):
        assert word in result.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nope",), "vapi: No such command 'nope' (see 'vapi --help')"),
        (("serve", "--listne", "x"), "vapi: No such option '--listne'"),
        (("serve", "extra"), "vapi: Got unexpected extra argument (extra) (see 'vapi serve --help')"),
        (("serve", "--listen"), "vapi: Option '--listen' requires an argument"),
        (("serve", "--listen", "x"), "vapi: --listen: 'x': must be ADDR:PORT"),
        (("serve", "--host", "kubeconfig=/nope"), "vapi: --host: 'kubeconfig=/nope': /nope is not a file"),
        (("serve", "--config", "/nope"), "vapi: --config: /nope: No such file or directory"),
        (("kubeconfig", "--name", "x"), "vapi: No such option '--name'"),
        (("kubeconfig", "--data-dir", "/nope"), "vapi: there is no /nope/kubeconfig: has `vapi serve` run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_typed_wrong_ends_with_one_line(typed: Typed, words: tuple[str, ...], told: str) -> None:
    result = typed(*words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(told)


def test_a_wrong_variable_ends_with_one_line(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPI_STORE", "floppy")
    result = typed("serve")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("vapi: VAPI_STORE: 'floppy'")


def test_kubeconfig_prints_the_path_for_a_shell_or_the_file_itself(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "kubeconfig"
    file.write_text("apiVersion: v1\n")
    assert typed("kubeconfig", "--data-dir", "data").out == f"{file}\n"
    assert typed("kubeconfig", "--data-dir", "data", "--raw").out == "apiVersion: v1\n"


def test_kubeconfig_of_another_user_names_the_same_server_and_is_signed_by_our_ca(typed: Typed, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    material = pki.load_or_create(directory / "pki", clock=SystemClock())
    server = "https://127.0.0.1:6443"
    (directory / "kubeconfig").write_bytes(kubeconfig.kubeconfig(server=server, ca=b"", name="team"))
    words = ("kubeconfig", "--data-dir", "data", "--user", "system:kube-scheduler", "--group", "a", "--group", "b")
    file = directory / "system-kube-scheduler.kubeconfig"
    assert typed(*words).out == f"{file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load(file.read_text())
    assert (config["clusters"][0]["cluster"]["server"], config["current-context"]) == (server, "team")
    pem = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    assert certificates.signed_by(pem, material.ca.certificate)
    subject = x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
    assert subject == "CN=system:kube-scheduler,O=b,O=a"


def test_kubeconfig_of_another_user_needs_the_keys(typed: Typed, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "kubeconfig").write_bytes(kubeconfig.kubeconfig(server="https://a", ca=b""))
    assert "pki" in typed("kubeconfig", "--data-dir", "data", "--user", "u").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data-dir", "/proc/nope"), "vapi: /proc/nope: No such file or directory"),
        (("--data-dir", "a-file"), "vapi: a-file: Not a directory"),
        (("--host", "in-cluster"), "vapi: --host: in-cluster configuration"),
    ],
    ids=["cannot be made", "is a file", "no cluster around us"],
)
def test_what_cannot_start_ends_with_one_line(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = typed("serve", "--listen", "127.0.0.1:0", *words)
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert result.err.startswith(told)
