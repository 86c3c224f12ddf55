"""The command line: `vapi serve`, `vapi kubeconfig`, `vapi version`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from vapi import config as configuration
from vapi.config import ConfigError
from vapi.version import KUBERNETES_VERSION, VERSION

_EPILOG = """\b
Examples:
  vapi serve                                    a virtual cluster on an embedded host, on this machine
  vapi serve --host kubeconfig=$HOME/.kube/config --host-namespace team-a --name team-a
  vapi serve --store etcd=http://127.0.0.1:2379 --host none
  kubectl --kubeconfig "$(vapi kubeconfig)" get nodes
"""


_FILE_HELP = "YAML file of the same settings, as hostRate: 400.  [VAPI_CONFIG]"


def _settings(names: tuple[str, ...] | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The settings of `config` as options; their parsing and defaults stay there."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for setting in reversed(configuration.SETTINGS):
            if names is None or setting.attribute in names:
                default = f"  [{setting.variable}; default: {setting.default}]" if setting.default else ""
                text = setting.help + (default or f"  [{setting.variable}]")
                command = click.option(setting.flag, setting.attribute, metavar=setting.metavar, help=text)(command)
        return click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help=_FILE_HELP)(
            command
        )

    return decorate


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """A whole Kubernetes control plane in one process: a virtual cluster in a namespace of a host cluster."""


@cli.command(epilog=_EPILOG)
@_settings()
def serve(file: Path | None, **flags: str | None) -> None:
    """Run a virtual cluster until SIGTERM or Ctrl-C."""
    from vapi import main as composition

    try:
        code = composition.run(configuration.load(flags, file))
    except ConfigError as error:
        _fail(str(error))
    sys.exit(code)


@cli.command()
@_settings(("data_dir",))
@click.option("--raw", is_flag=True, help="Print the file itself, not its path.")
@click.option("--user", metavar="NAME", help="Write and print one for this user, as system:kube-controller-manager.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="A group of --user.")
def kubeconfig(file: Path | None, raw: bool, user: str | None, groups: tuple[str, ...], **flags: str | None) -> None:
    """Print the path of the admin kubeconfig that `serve` wrote."""
    try:
        path = configuration.load(flags, file).data_dir / "kubeconfig"
        text = path.read_text()
        if user:
            path, text = _kubeconfig_of(path.parent, user, groups)
    except ConfigError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"there is no {error.filename or path}: has `vapi serve` run with this --data-dir?")
    click.echo(text if raw else str(path.resolve()), nl=not raw)


def _kubeconfig_of(directory: Path, user: str, groups: tuple[str, ...]) -> tuple[Path, str]:
    """Its path and text. Raises OSError."""
    from vapi.auth import kubeconfig as files  # on demand, as all that needs cryptography
    from vapi.clock import SystemClock

    name, config = files.for_user(directory, user, groups, clock=SystemClock())
    files.write(directory / name, config)
    return directory / name, config.decode()


@cli.command()
def version() -> None:
    """Print the versions of vapi and of the Kubernetes API it serves."""
    click.echo(f"vapi {VERSION} (Kubernetes {KUBERNETES_VERSION})")


def _fail(message: str) -> NoReturn:
    click.echo(f"vapi: {message}", err=True)
    sys.exit(2)


def main() -> None:
    """What is typed wrong ends with one line, as what is set wrong does; click would print three."""
    try:
        cli(prog_name="vapi", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "vapi"
        _fail(f"{error.format_message().removesuffix('.')} (see '{command} --help')")
    except click.Abort:
        sys.exit(130)  # as a shell says of Ctrl-C


if __name__ == "__main__":
    main()
