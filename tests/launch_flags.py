"""The flags of the launchers as their source defines them, to hold written commands against."""

import ast
import re
from pathlib import Path

LAUNCH = Path(__file__).parent.parent / "launch"
SHARED = ("common", "heap", "cores")  # whose flags every launcher has


def flags_of(launcher):
    """The names of the flags that a launcher has, and of those that it requires."""
    own, *shared = (_calls((LAUNCH / f"{name}.py").read_text()) for name in (launcher, *SHARED))
    first = [
        call.args[0]
        for name, call in (own + [each for calls in shared for each in calls])
        if re.match("define_path|DEFINE_", name)
    ]
    (run,) = [call for name, call in own if name == "run" and len(call.args) == 2]
    given = {word.arg: ast.literal_eval(word.value) for word in run.keywords}
    defined = {argument.value for argument in first if isinstance(argument, ast.Constant)}
    return defined, set(given.get("required", ("config", "workdir")))  # as `common.run` has it


def _calls(source):
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [(ast.unparse(node.func).split(".")[-1], node) for node in nodes]
