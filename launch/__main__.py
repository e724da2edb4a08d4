# PYTHON_ARGCOMPLETE_OK
"""SCARLET-NAS in JAX: trains a supernet, searches it, and trains, measures and exports models.

scarlet pipeline --config=mnist --workdir=runs/mnist
"""

import argparse
import ast
import runpy
import sys
from pathlib import Path

import argcomplete

from scarlet_jax import __version__

COMMANDS = (
    *("pipeline", "train_supernet", "search", "rank", "train_subnet", "evaluate"),
    *("predict", "export", "convert", "benchmark", "compile_check"),
)


def main() -> None:
    """Runs the command named first, with the rest as its flags."""
    parser = argparse.ArgumentParser(
        prog="scarlet",
        usage="scarlet COMMAND --FLAG=VALUE ...",
        description=__doc__,
        epilog="scarlet COMMAND --help has its flags.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scarlet-jax {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, title="commands", metavar="COMMAND"
    )
    for name in COMMANDS:
        commands.add_parser(name, help=_summary(name), add_help=False)
    argcomplete.autocomplete(parser)
    command = parser.parse_args(sys.argv[1:2]).command

    from scarlet_jax.launch import start

    start.prepare()
    del sys.argv[1]
    runpy.run_module(f"scarlet_jax.launch.{command}", run_name="__main__", alter_sys=True)


def _summary(name: str) -> str:
    """The first line of a command's module, which is not imported."""
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
