"""The command line: help, bad input, `kill -9` of a real process, and how a process starts."""

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import launched
import numpy as np
import pytest
import small
from absl import flags
from launched import ROOT, finish, start

from scarlet_jax import launch, tensors
from scarlet_jax.launch import cache, common, cores, heap, search
from scarlet_jax.launch.__main__ import COMMANDS
from scarlet_jax.run import subnet as subnets
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import load_supernet, path_model

MNIST = ["--config=configs/mnist.py", "--workdir=/nonexistent/run"]
LAUNCHERS = ["pipeline", "train_supernet", "search", "train_subnet", "evaluate", "benchmark"]


def scarlet(*arguments, cwd=ROOT, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", "from scarlet_jax.launch.__main__ import main; main()", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_names_the_flags_and_no_arguments_name_a_command(tmp_path):
    commands = [(name, *given) for given in ((), ("--help",)) for name in LAUNCHERS]
    found = list(launched.ends(commands, tmp_path))
    for name, (_, out, _) in zip(LAUNCHERS, found[len(LAUNCHERS) :], strict=True):
        assert f"scarlet {name} --" in out
        assert "--config: Settings: one of base, cifar10, " in out
        assert "--[no]keep_heap: " in out
        for flag in (
            "compilation_cache",
            "compile_effort",
            "coordinator",
            "num_processes",
            "process_id",
        ):
            assert f"--{flag}: " in out
    for name, (code, out, err) in zip(LAUNCHERS, found[: len(LAUNCHERS)], strict=True):
        assert code == 2
        assert err.startswith("error: --")
        assert f"must be given, for example\n  scarlet {name} --" in err
        assert out == ""


def test_scarlet_lists_every_launcher():
    texts = {path.stem: path.read_text() for path in (ROOT / "launch").glob("*.py")}
    launchers = {name for name, text in texts.items() if "    common.run(main, __doc__" in text}
    assert set(COMMANDS) == launchers
    ((code, out, _),) = finish(scarlet("--help"))
    assert code == 0
    for name in COMMANDS:
        assert f"\n    {name}" in out
    assert "Searches a trained supernet, or goes on with a search." in out


def test_scarlet_runs_what_it_is_given_with_a_configuration_of_the_package(tmp_path):
    """Wherever it is called; a heap of its own is kept as by the launchers."""
    missing = scarlet("search", "--config=mnist", "--workdir=none", cwd=tmp_path)
    unknown, none = scarlet("serch"), scarlet()
    errors = [err for _, _, err in finish(missing, unknown, none)]
    assert errors[0].startswith("error: there is no checkpoint in none/supernet; train one by ")
    assert "invalid choice: 'serch' (choose from 'pipeline', 'train_supernet'" in errors[1]
    assert "the following arguments are required: COMMAND" in errors[2]
    assert [process.returncode for process in (missing, unknown, none)] == [2, 2, 2]


def test_a_shell_completes_commands(tmp_path):
    line = "scarlet train_"
    asked = {
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": " ",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "completions"),
    }
    finish(scarlet(**asked))
    assert (tmp_path / "completions").read_text() == "train_supernet train_subnet"


BAD = {
    ("pipeline", *MNIST, "--config.search.populaton=3"): "closest is search.population",
    (
        "pipeline",
        *MNIST,
        "--config.search.latency_table=x",
    ): "--config.search.latency_table=x; the closest is search.objectives.latency.table",
    ("predict", "--weights=x", "--images=y", "--threads=0"): "0 is not a positive integer",
    ("export", "--format=onnx", "--threads=0"): "0 is not a positive integer",
    ("pipeline", *MNIST, "--config.no_such_section.x=3"): "see scarlet_jax/settings.py",
    ("pipeline", *MNIST, "--config.search.population=many"): "invalid literal for int",
    (
        "pipeline",
        MNIST[0],
        "--workdir=https://bucket/x",
    ): "'https://bucket/x' is a URL of no bucket; allowed",
    ("pipeline", "--config=configs/mnist.py:small", MNIST[1]): "takes 0 positional arguments but 1",
    ("pipeline", "--config=README.md", MNIST[1]): " cannot be used: SyntaxError: ",
    ("pipeline", *MNIST, "--cpu_devices=100000"): "is 100000; allowed: what divides the batches of",
    ("pipeline", *MNIST, "--compile_effort=nan"): "--compile_effort=nan: allowed: -1 to 1",
    ("pipeline", *MNIST, "--config.search.picks=0", "--config.seed=-1"): "seed is -1; allowed: ",
    ("pipeline", MNIST[0], "--workdir=/dev/null/x"): "/dev/null/x: Not a directory",
    ("pipeline", *MNIST, "--confg=x"): "Unknown command line flag 'confg'",
    ("pipeline", *MNIST, "now"): "unexpected argument 'now'",
    ("pipeline", "--config=configs/none.py", "--workdir=x"): "configs/none.py",
    ("pipeline", "--config=mnst", "--workdir=x"): "--config is 'mnst'; allowed: base, cifar10, ",
    ("pipeline", *MNIST, "--config.search.objectives.macs.max=9"): "objectives.macs.max is 9",
    (
        "search",
        *MNIST,
        "--config.search.objectives.flops.goal=min",
    ): "--config has no setting 'flops': --config.search.objectives.flops.goal=min; the closest is "
    "search.objectives.params.goal",
    ("search", *MNIST, "--config.supernet.none=3"): "no setting 'none': --config.supernet.none=3",
    (
        *("pipeline", *MNIST, "--config.search.objectives.macs.max=200000"),
        "--config.search.objectives.params.min=90000",
    ): "the bounds leave nothing to search: 0% of 10,000 random architectures are feasible",
    ("search", *MNIST, "--resume"): "there is no search to resume: ",
    ("pipeline", *MNIST, "--coordinator=here"): "coordinator is 'here'; allowed: HOST:PORT or auto",
    ("pipeline", *MNIST, "--process_id=1"): "--process_id go with --coordinator",
    ("benchmark", "--arch=scarlet-z"): "no architecture is called 'scarlet-z'",
    ("benchmark", "--arch=scarlet-a", "--table=t.json"): "--arch or --table, not both, must be giv",
    ("benchmark", "--arch=scarlet-a", "--blocks=b"): "--blocks=b goes with --table=FILE",
    ("benchmark", "--blocks=b", "--table=b/table.json"): "--table is b/table.json, which is filled",
    ("benchmark", "--arch=scarlet-a", "--check=3"): "--check goes with --table, not with --arch",
    ("benchmark", "--arch=scarlet-a", "--workdir=w"): "Unknown command line flag 'workdir'",
    ("benchmark", "--blocks=b", "--table=t", "--check=0"): "--check does not go with --blocks",
    ("benchmark", "--table=/nonexistent/t.json"): "/nonexistent/t.json cannot be written; allowed",
    ("benchmark", "--arch=scarlet-a", "--csv=/dev/null"): "in the place of a device",
    ("benchmark", "--arch=scarlet-a", "--supernet=x"): "--supernet=x needs --config=FILE",
    ("evaluate", *MNIST): "give either --arch or --subnet",
    (
        *("train_subnet", *MNIST, "--arch=all-identity", "--weights=/nonexistent"),
    ): "there is no model file /nonexistent",
    ("train_subnet", *MNIST, "--arch=E3K9" + ",E3K3" * 5): "unknown choice 'E3K9' at layer 0",
}


def test_bad_input_is_one_line_and_code_2(tmp_path):
    launched.check_refused(BAD, tmp_path)


@pytest.fixture(scope="module")
def command(image_folder, tmp_path_factory):
    """The main job on a tiny problem, by a configuration file of its own."""
    folder = tmp_path_factory.mktemp("command")
    small.write_config(folder / "tiny_config.py", image_folder)
    return [
        *("pipeline", f"--config={folder / 'tiny_config.py'}"),
        f"--compilation_cache={folder / 'cache'}",
    ]


@pytest.fixture(scope="module")
def steady(command, tmp_path_factory):
    """The work directory of a main job that was left alone."""
    workdir = tmp_path_factory.mktemp("steady")
    ((code, out, err),) = finish(start(*command, f"--workdir={workdir}"))
    assert code == 0, err
    assert f"report: {workdir / 'report.html'}" in out
    return workdir


def arrays(workdir):
    return {
        path.relative_to(workdir): json.loads(path.read_text())
        for path in [workdir / "front.json", *sorted(workdir.glob("subnets/*/result.json"))]
    }


def test_kill_9_and_the_same_command_again(command, steady, tmp_path):
    """Killed in the supernet's training and after it: the result is that of a run left alone.

    Whose programs the last finds in the compilation cache, all of them.
    """
    killed = [*command, f"--workdir={tmp_path}", "--config.supernet.checkpoint_every=1"]
    for sign in ("supernet/checkpoints/2", "search/search.npz"):
        process = start(*killed)
        while process.poll() is None and not (tmp_path / sign).exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert finish(process)[0][0] == -signal.SIGKILL
    explained = {"JAX_DEBUG_LOG_MODULES": "jax._src.compiler"}
    ((code, _, err),) = finish(start(*killed, **explained))
    assert code == 0, err
    assert "compilation cache hit for 'jit_" in err
    assert "CACHE MISS" not in err
    assert arrays(tmp_path) == arrays(steady)


def test_the_commands_of_the_stages_are_the_main_job(command, image_folder, steady, tmp_path):
    """One after the other, the search in a work directory of its own; then those that score."""
    trained, searched = tmp_path / "trained", tmp_path / "searched"

    def run(*launches):
        """What each prints; they run side by side."""
        done = finish(*[start(name, *command[1:], *arguments) for name, *arguments in launches])
        assert [code for code, _, _ in done] == [0] * len(launches), done
        return [out for _, out, _ in done]

    run(["train_supernet", f"--workdir={trained}"])
    own, other = f"--workdir={searched}", f"--supernet={trained}"
    run(["search", own, other])
    front = json.loads((searched / "front.json").read_text())["front"]
    paths = [",".join(map(str, model["architecture"])) for model in front]
    picks = [path for path, model in zip(paths, front, strict=True) if model["picked"]]
    for number, path in enumerate(picks):
        run(["train_subnet", own, f"--arch={path}", f"--name=model-{number}"])
    assert arrays(searched) == arrays(steady)

    subnet, supernet, _, ranked = run(
        ["evaluate", own, "--subnet=model-0"],
        ["evaluate", f"--workdir={trained}", *[f"--arch={path}" for path in paths]],
        ["train_subnet", own, f"--arch={picks[0]}", f"--weights={trained}", "--name=more"],
        [
            *("rank", f"--workdir={tmp_path / 'ranked'}", other),
            *("--config.rank.architectures=2", "--config.rank.share=0.5"),
        ],
    )
    results = subnets.results(searched)
    accuracy = results["model-0"]["test_accuracy"]
    assert subnet.startswith(f"model-0: accuracy {accuracy:.4f}, ")
    assert supernet.splitlines() == [
        f"{path}: supernet accuracy {model['accuracy']:.4f} on 8 validation images"
        for path, model in zip(paths, front, strict=True)
    ]
    setup = prepare(small.config(image_folder), trained)
    initial = path_model(setup, load_supernet(setup), np.array(front[0]["architecture"])).network
    assert results["more"]["weights"] == tensors.fingerprint(initial.params)
    assert results["more"]["test_accuracy"] > 0.5
    assert "\nranking: 2 networks trained alone, each for 3 steps\n" in ranked
    assert ranked.endswith(f"report: {tmp_path / 'ranked' / 'report.html'}\n")


def test_benchmark_prints_exact_counts():
    ((code, out, err),) = finish(
        start(
            "benchmark",
            *("--arch=scarlet-a", "--arch=" + ",".join(["12"] * 19)),
            *("--image_size=32", "--num_classes=10", "--repeats=2", "--batch_size=2"),
        )
    )
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["5,439,530", "37,674"]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in rows)


def test_benchmark_makes_a_table_that_a_run_of_the_configuration_reads(
    command, image_folder, tmp_path
):
    table = tmp_path / "latency.json"
    ((code, out, err),) = finish(
        start("benchmark", command[1], f"--table={table}", "--repeats=1", "--check=2", "--force")
    )
    assert code == 0, err
    *_, agreement, written = out.splitlines()
    assert agreement.startswith("2 random networks, sum of the table against what was measured: ")
    assert written == f"table of cpu, in ms: {table}"
    config = small.config(image_folder)
    config.search.objectives.latency.update({"table": str(table), "device": "cpu", "max": 1e6})
    prepare(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--config=c.py --workdir=w --resume --generations=40", "--config=c.py --workdir=w"),
        ("--noresume --config c.py --generations 4 --workdir w", "--config c.py --workdir w"),
        ("-supernet=s -config=c.py -workdir=w", "-config=c.py -workdir=w"),
        ("--workdir='a b' --config.search.picks=2", "'--workdir=a b' --config.search.picks=2"),
        ("--config.data.mean '(0.5,)' --supernet s --seed", "--config.data.mean '(0.5,)' --seed"),
    ],
)
def test_another_launcher_is_called_without_the_flags_it_does_not_take(
    arguments, expected, monkeypatch
):
    own = flags.FlagValues()
    flags.DEFINE_boolean("resume", False, "", flag_values=own)
    flags.DEFINE_integer("generations", None, "", flag_values=own)
    flags.DEFINE_string("supernet", None, "", flag_values=own)
    monkeypatch.setattr(common, "FLAGS", own)
    monkeypatch.setattr(sys, "argv", ["search", *shlex.split(arguments)])
    whole = common.command("search")
    assert shlex.split(whole)[2:] == shlex.split(arguments)
    other = common.command("train_subnet", without=search.OWN_FLAGS)
    assert other == f"scarlet train_subnet {expected}"


ASK = """import os
from scarlet_jax.launch.heap import ENVIRONMENT
print(os.getpid(), *[os.environ.get(name) for name in ENVIRONMENT])
"""


@pytest.mark.skipif(not heap._has_glibc(), reason="only glibc has these settings")
@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, list(heap.ENVIRONMENT.values())),
        ([], {"MALLOC_MMAP_MAX_": "7"}, ["7", *list(heap.ENVIRONMENT.values())[1:]]),
        (["--keep_heap=false"], {}, ["None"] * len(heap.ENVIRONMENT)),
        (["--nokeep_heap", "--other=1"], {}, ["None"] * len(heap.ENVIRONMENT)),
        ([], {heap.RESTARTED: "1"}, ["None"] * len(heap.ENVIRONMENT)),
    ],
)
def test_a_launcher_restarts_itself_once_to_keep_its_heap(arguments, environment, expected):
    """Any module of the package does; `-i` lets it be asked afterwards, and must survive."""
    clean = {name: value for name, value in os.environ.items() if name not in heap.ENVIRONMENT}
    process = subprocess.Popen(
        [sys.executable, "-i", "-W", "ignore", "-m", "launch.heap", *arguments],
        cwd=ROOT,
        env=clean | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(ASK, timeout=60)
    assert out.split() == [str(process.pid), *expected], err


@pytest.fixture
def listeners(monkeypatch):
    """Those that have been registered with JAX, until the test ends."""
    registered, register = [], jax.monitoring.register_event_duration_secs_listener

    def note(listener):
        registered.append(listener)
        register(listener)

    monkeypatch.setattr(jax.monitoring, "register_event_duration_secs_listener", note)
    yield registered
    for listener in registered:
        jax.monitoring.unregister_event_duration_listener(listener)


@pytest.fixture
def trims(monkeypatch, listeners):
    """What `malloc_trim` has been called with; it is not carried out."""
    calls = []
    library = SimpleNamespace(malloc_trim=calls.append)
    monkeypatch.setattr(heap, "_has_glibc", lambda: True)
    monkeypatch.setattr(heap, "ctypes", SimpleNamespace(CDLL=lambda _: library))
    heap.return_what_compiling_left()
    assert len(listeners) == 1
    return calls


@pytest.mark.parametrize(
    ("event", "seconds", "expected"),
    [
        (heap.COMPILED, 1.5 * heap.LONG, [0]),
        (heap.COMPILED, 0.5 * heap.LONG, []),
        ("/jax/core/compile/jaxpr_trace_duration", 1.5 * heap.LONG, []),
    ],
)
def test_a_long_compilation_alone_gives_memory_back(event, seconds, expected, trims):
    jax.monitoring.record_event_duration_secs(event, seconds, fun_name="step")
    assert trims == expected


def test_the_event_is_that_of_a_compilation(trims, monkeypatch):
    monkeypatch.setattr(heap, "LONG", 0.0)
    jax.jit(lambda x: x + 1).lower(1.0).compile()
    assert trims == [0]


def test_without_glibc_nothing_listens(monkeypatch, listeners):
    monkeypatch.setattr(heap, "_has_glibc", lambda: False)
    heap.return_what_compiling_left()
    assert listeners == []


def test_importing_a_launcher_restarts_nothing(monkeypatch):
    restarts = []
    monkeypatch.setattr(os, "execve", lambda *arguments: restarts.append(arguments))
    importlib.reload(launch)
    assert not restarts


@pytest.mark.parametrize(
    ("count", "batch_sizes", "expected"),
    [(2, (96, 96), 2), (6, (16, 96), 4), (3, (16,), 2), (8, (7,), 7), (9, (7,), 7), (1, (5,), 1)],
)
def test_devices_share_batches_evenly_and_have_a_core_each(count, batch_sizes, expected):
    assert cores.fitting(count, batch_sizes) == expected


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [
        (None, {}, cores.fitting(cores.available(), (720,))),
        (3, {}, 3),
        (3, {"JAX_NUM_CPU_DEVICES": "5"}, 5),
        (3, {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}, 4),
    ],
)
def test_a_cpu_is_a_device_for_every_core_unless_told_otherwise(asked, environment, expected):
    code = f"import jax; from scarlet_jax.launch import cores; cores.use({asked}, (720,)); "
    clean = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    out = subprocess.run(
        [sys.executable, "-c", code + "print(jax.device_count())"],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert int(out) == expected


def test_the_compilation_cache_is_the_users(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    assert cache.default_directory() == "/elsewhere"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.default_directory() == "/caches/scarlet_jax/compilation"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache.default_directory() == "/home/someone/.cache/scarlet_jax/compilation"


@pytest.mark.parametrize("directory", ["", "{file}/below", "{new}"])
def test_a_compilation_cache_that_cannot_be_written_is_done_without(
    directory, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    settings, warnings = {}, []
    monkeypatch.setattr(jax.config, "update", settings.__setitem__)
    monkeypatch.setattr(cache.logging, "warning", lambda *message: warnings.append(message))
    path = directory.format(file=tmp_path / "file", new=tmp_path / "new" / "one")
    cache.use(path)
    usable = directory == "{new}"
    assert settings["jax_compilation_cache_dir"] == (path if usable else "")
    assert Path(path).is_dir() or not usable
    assert [message[1:] for message in warnings] == (
        [(path, "Not a directory")] if directory == "{file}/below" else []
    )
