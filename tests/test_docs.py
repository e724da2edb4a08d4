"""The code in the documentation runs, and the notebooks are committed as they ran."""

import ast
import importlib
import json
import math
import re
import shlex
from pathlib import Path

import pytest
import yaml
from launch_flags import flags_of

from scarlet_jax import settings
from scarlet_jax.configs import base

ROOT = Path(__file__).parent.parent
# Of each notebook: how many pictures it shows, and what its last cells print.
NOTEBOOKS = {
    "quickstart": (2, "Agreement(images=1000"),
    "photos_to_phone": (0, 'class_names ["flower", "temple"]'),
}


def snippets(page, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


PAGES = ("README.md", "docs/library.md", "docs/models.md")


@pytest.mark.parametrize("code", [code for page in PAGES for code in snippets(page)])
def test_code_runs_as_it_stands(code, capsys, monkeypatch, tmp_path):
    """On small images: compiling and running S2 at 224 pixels takes half a minute."""
    monkeypatch.chdir(tmp_path)
    exec(code.replace("224", "32"), {})
    said = capsys.readouterr().out
    assert said
    if "programs compiled" in code:  # README shows what it prints
        assert f"```\n{said.splitlines()[0]}\n" in (ROOT / "README.md").read_text()
        assert said.count("programs compiled: 1\n") == 2


def commands():
    """Every command of the package in the documentation and the notebooks, by its words."""
    pages = [
        "README.md",
        "BUILD.md",
        *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    ]
    texts = [text for page in pages for text in snippets(page, "sh")]
    for name in NOTEBOOKS:
        cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        texts += ["".join(cell["source"]).replace("!scarlet", "scarlet") for cell in cells]
    for line in "\n".join(texts).replace("\\\n", " ").splitlines():
        own = line.strip().rpartition("&& .venv/bin/")[2].removesuffix(" 2>&1")
        if own.startswith("scarlet "):
            yield shlex.split(own, comments=True)[1:]
    (job,) = yaml.safe_load((ROOT / "launch" / "jobset.yaml").read_text())["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    yield [*container["command"][1:], *container["args"]]


@pytest.mark.parametrize("command", [*commands()], ids=" ".join)
def test_a_command_has_flags_and_settings_that_there_are(command):
    name, *arguments = command
    if name.startswith("-"):
        assert command in (["--help"], ["--version"])
        return
    given = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
    changes = {flag: given.pop(flag) for flag in [*given] if flag.startswith("config.")}
    defined, required = flags_of(name)
    assert required <= given.keys() <= defined
    own = given.get("config", "base").replace("photos.py", "base")  # which a notebook writes
    config = importlib.import_module(f"scarlet_jax.configs.{own}").get_config()
    for flag, text in changes.items():
        section, _, setting = flag.removeprefix("config.").rpartition(".")
        before = config[f"{section}.{setting}"] if section else config[setting]
        value = text if isinstance(before, str) else ast.literal_eval(text)
        config.update_from_flattened_dict({flag.removeprefix("config."): value})
    settings.check(config)


def test_the_page_on_folding_shows_what_its_code_prints(capsys):
    page = (ROOT / "docs" / "folding.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```.*?```\n(.*?)```", page, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == printed


def test_objectives_by_tables_are_settings():
    (code,) = (c for c in snippets("docs/spaces.md", "py") if "table" in c)
    config = base.get_config()
    exec(code, {"config": config})
    own = settings.check(config).search.objectives
    assert own.energy.table == "energy.json"
    assert own.old_phone.to_dict() == {
        "goal": "none",
        "weight": 0.0,
        "min": -math.inf,
        "max": 60.0,
        "table": "old_phone.json",
        "device": "",
    }


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_run_from_start_to_end(name):
    pictures, printed = NOTEBOOKS[name]
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == pictures
    assert "stderr" not in {output.get("name") for output in outputs}
    text = "".join("".join(output.get("text", "")) for output in outputs)
    assert printed in text
    assert not re.search(r"/(home|root|work|tmp)/", json.dumps(outputs))
