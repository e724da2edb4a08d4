"""What was measured: JSON files in benchmarks/results/, with the command that gave them."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from benchmarks.measure import machine

Found = Mapping[str, Any]


def file(name: str) -> Path:
    """Where it is."""
    return Path(__file__).parent / "results" / f"{name}.json"


def read(name: str) -> dict[str, Any]:
    """What is there; empty if nothing is."""
    path = file(name)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(name: str, command: str, found: Found) -> None:
    """Keeps it, with command, commit and machine."""
    commit = _git("rev-parse", "--short", "HEAD")
    origin = {"command": command, "commit": commit, "machine": machine()}
    file(name).write_text(json.dumps({**origin, **found}) + "\n")
    print(f"\nwritten: {file(name)}")


def origin() -> dict[str, str]:
    """On what, and by which code, something is trained here."""
    code = _git("log", "-1", "--format=%h", "--", "scarlet_jax", "configs", "launch")
    about, device = machine(), jax.devices()[0]
    name = about["processor"] if device.platform == "cpu" else device.device_kind
    return {"processor": name, "jax": about["jax"], "code": code}


def source(found: Found) -> str:
    """Command, machine and commit, for a page."""
    about = ", ".join(found["machine"][key] for key in ("processor", "cores", "python", "jax"))
    return f"`{found['command']}`, {about}, commit {found['commit']}."


def _git(*arguments: str) -> str:
    """What git says; nothing where there is no repository."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
