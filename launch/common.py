"""What the launchers share: flags, and errors as one line."""

import difflib
import math
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from scarlet_jax import configs, data, interrupts, models, processes, settings
from scarlet_jax import space as spaces
from scarlet_jax.buckets import is_bucket, is_of_storage
from scarlet_jax.copies import fetched
from scarlet_jax.differences import flatten
from scarlet_jax.errors import DivergedError, InputError, MismatchError
from scarlet_jax.files import as_path, check_writable
from scarlet_jax.launch import cache, cores, heap
from scarlet_jax.network_size import IMAGENET, NetworkSize
from scarlet_jax.run import setup
from scarlet_jax.train import profile

FLAGS = flags.FLAGS
ARCH_HELP = (
    "An architecture: a preset (scarlet-a, scarlet-b, scarlet-c, all-identity, all-k7e6) or "
    "comma-separated choices, as indices or names; or as JSON, such as front.json has."
)

# Ours. A TPU's compiler takes less than half as long for a step of S2, and moves fewer bytes.
COMPILE_EFFORT = -1.0
# Whatever the environment says: the same seed is to give the same result.
NUMERICS = {
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
}


CONFIGS = {path.stem: path for path in sorted(Path(configs.__file__).parent.glob("[a-z]*.py"))}


EVERY = "flags of every command"  # what help calls them


def define_run() -> None:
    """Defines `--config` with its overrides, and `--workdir`."""
    define_config()
    define_path("workdir", None, "Where results go; a stopped run goes on from there.")


def define_config() -> None:
    """Defines `--config` with its overrides."""
    config_flags.DEFINE_config_file(
        "config",
        None,
        f"Settings: one of {', '.join(CONFIGS)}, or your own file such as configs/mnist.py; one "
        "setting is changed by --config.section.field=value.",
    )
    _show_in_help(sys.argv[0], "config")


class PathParser(flags.ArgumentParser[str]):
    """Paths as users write them, with `~`, and URLs of buckets."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        return os.fspath(as_path(argument)) if argument else argument

    def flag_type(self) -> str:
        return "path"


def define_path(name: str, default: str | None, help_: str, group: str | None = None) -> None:
    """Defines a flag that names a file or folder; help has it in a group, or as a command's own."""
    flags.DEFINE(PathParser(), name, default, help_, serializer=flags.ArgumentSerializer())
    _show_in_help(group or sys.argv[0], name)


def define_size() -> None:
    """Defines what a space and the size of its networks are where there is no `--config`."""
    flags.DEFINE_string("space", "s2", "The search space, s1 or s2, where there is no --config.")
    flags.DEFINE_integer(
        "image_size", None, "Pixels a side; 224, or the --config's.", lower_bound=1
    )
    flags.DEFINE_integer(
        "num_classes", None, "Classifier outputs; 1000, or the --config's.", lower_bound=1
    )
    _show_in_help(sys.argv[0], "space", "image_size", "num_classes")


def space() -> spaces.Space:
    """Of the `--config`, or as the flags of `define_size` say."""
    return setup.make_space(FLAGS.config) if FLAGS.config else spaces.get_space(FLAGS.space)


def size(space: spaces.Space, own: NetworkSize | None = None) -> NetworkSize:
    """As the flags of `define_size` say, or else as a run of the `--config`, or else ImageNet's.

    Args:
      space: which must be able to take such images.
      own: of a run that is set up already.
    """
    if FLAGS.config and own is None:
        section = FLAGS.config.data
        num_classes = FLAGS.num_classes or section.num_classes
        num_classes = num_classes or len(data.load(section, FLAGS.config.seed).class_names)
        own = NetworkSize(section.image_size, num_classes, section.channels)
    own = own or IMAGENET
    found = NetworkSize(
        FLAGS.image_size or own.image_size, FLAGS.num_classes or own.num_classes, own.channels
    )
    models.check_image_size(space, found.image_size)
    return found


def check_local(name: str) -> None:
    """Ends with one line where a flag names something in a bucket."""
    if (path := getattr(FLAGS, name)) and is_bucket(path):
        raise InputError(f"--{name} is {path}, in a bucket; allowed: a folder of this machine")


def check_outputs(*names: str) -> None:
    """Ends with one line where two flags name one file, or a file cannot be written."""
    given: dict[str, str] = {}
    for name in names:
        if not (path := getattr(FLAGS, name)):
            continue
        if other := next((own for own, taken in given.items() if taken == path), None):
            raise InputError(f"--{other} and --{name} are both {path}; allowed: two files")
        given[name] = path
        check_writable(path)


def check_not_read(name: str, source: Path) -> None:
    """Ends with one line where a flag names the model file that is read."""
    path = getattr(FLAGS, name)
    if os.path.realpath(path) == os.path.realpath(models.file_of(source)):
        raise InputError(f"--{name} is {path}, the model itself; allowed: another file")


def prepare(supernet_workdir: str | None = None) -> setup.Setup:
    """What `--config` and `--workdir` name, checked, on a device for every core of a CPU.

    And the supernet of another work directory, if that is given.

    One of several processes gets one CPU device, unless `--cpu_devices` says more: how many
    processes a machine runs is not known here.
    """
    config = FLAGS.config
    if FLAGS.cpu_devices or not FLAGS.coordinator:
        batch_sizes = (config.supernet.batch_size, config.subnet.batch_size)
        cores.use(FLAGS.cpu_devices, batch_sizes)
    steps = profile.parse(FLAGS.profile) if FLAGS.profile else range(0)
    return setup.prepare(config, FLAGS.workdir, None, supernet_workdir, steps)


def command(name: str, without: Sequence[str] = ()) -> str:
    """Command `name` called as this one was, but for the flags `without`, for a report."""
    left_out = flags.FlagValues()
    left_out.set_gnu_getopt()  # whatever stands between them
    for flag in without:
        left_out[flag] = FLAGS[flag]
    arguments = left_out(sys.argv, known_only=True)[1:]
    return shlex.join(["scarlet", name, *arguments])


def run(
    main: Callable[[], Any], doc: str | None, required: Sequence[str] = ("config", "workdir")
) -> None:
    """Runs `main` with flags parsed. Bad input ends in one line and exit code 2.

    Defines the flags of how a process starts and ends: `--keep_heap`, `--cpu_devices`,
    `--compilation_cache`, `--compile_effort`, `--profile`, `--grace_seconds`, and those of several
    processes.

    Args:
      main: the job.
      doc: the launcher's docstring, for `examples` when a required flag is missing.
      required: flags that must be given.
    """

    def guarded(argv: list[str]) -> None:
        _log_from(logging.WARNING)  # libraries say much at INFO
        # Orbax's threads print pages of what is raised, and explained, here.
        logging.get_absl_handler().addFilter(lambda record: "/orbax/" not in record.pathname)
        missing = [f"--{name}" for name in required if getattr(FLAGS, name) in (None, "", [])]
        if argv[1:]:
            fail(f"unexpected argument {argv[1]!r}; flags start with --, {examples(doc)}")
        if missing:
            fail(f"{' and '.join(missing)} must be given, {examples(doc)}")
        resumes = "workdir" in FLAGS and FLAGS.workdir
        advice = "; the same command goes on from the last checkpoint" if resumes else ""
        try:
            interrupts.begin(FLAGS.grace_seconds, f"stopped{advice}")
            if "config" in FLAGS and FLAGS.config is not None:
                FLAGS["config"].value = settings.check(FLAGS.config)
            if FLAGS.coordinator:
                number = processes.join(
                    FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id, FLAGS.start_seconds
                )
                if number:
                    _log_from(logging.ERROR)
            elif FLAGS.num_processes is not None or FLAGS.process_id is not None:
                raise InputError("--num_processes and --process_id go with --coordinator")
            cache.use(FLAGS.compilation_cache)
            for name, value in NUMERICS.items():
                jax.config.update(name, value)
            jax.config.update("jax_exec_time_optimization_effort", FLAGS.compile_effort)
            heap.collect_rarely()
            heap.return_what_compiling_left()
            main()
        except interrupts.Stopped as stop:
            interrupts.say(str(stop))
            processes.leave(interrupts.exit_code())
        except Exception as error:
            if line := _explained(error):
                print(f"error: {line}", file=sys.stderr)
                processes.leave(2)
            processes.fail()
        finally:
            interrupts.finish()

    _define_start()
    if {"--help", "-help", "-h"} & set(sys.argv[1:]):
        print(_help(doc))
        return
    app.run(guarded, flags_parser=_parse)


def examples(doc: str | None) -> str:
    """The commands in the second paragraph of a launcher's docstring, for a message."""
    return "for example\n" + textwrap.indent((doc or "").split("\n\n")[1].rstrip(), "  ")


def _explained(error: Exception) -> str:
    """What is wrong with the input or the machine; nothing for a fault of the program."""
    if isinstance(error, InputError | DivergedError | MismatchError):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return f"{os.fspath(error.filename)}: {reason}" if error.filename else reason
    if isinstance(error, MemoryError) or "Out of memory" in str(error):
        return f"out of memory ({_one_line(str(error))[:200]}); try smaller batches or images"
    if is_of_storage(error):
        return f"a bucket cannot be used: {_one_line(str(error)) or type(error).__name__}"
    if "Unable to initialize backend" in str(error):
        return _one_line(str(error))
    return ""


def _define_start() -> None:
    heap.define_flag()
    cores.define_flag()
    define_path(
        "compilation_cache",
        cache.default_directory(),
        "Where compiled programs are kept for later runs; nowhere if empty.",
        EVERY,
    )
    flags.DEFINE_float(
        "compile_effort",
        float(os.environ.get("JAX_EXEC_TIME_OPTIMIZATION_EFFORT", COMPILE_EFFORT)),
        "How long XLA may optimise programs for TPUs, from -1 to 1; its own default is 0.",
        lower_bound=-1.0,
        upper_bound=1.0,
    )
    flags.register_validator("compile_effort", math.isfinite, "allowed: -1 to 1")
    flags.DEFINE_string(
        "profile", None, "Steps of each training to record for TensorBoard, as START:STOP."
    )
    flags.DEFINE_float(
        "grace_seconds",
        20.0,
        "After Ctrl-C or SIGTERM a job saves and ends; within this time it ends in any case.",
        lower_bound=0.0,
    )
    flags.register_validator("grace_seconds", math.isfinite, "allowed: 0 or more seconds")
    flags.DEFINE_string(
        "coordinator",
        None,
        "For several processes: HOST:PORT of the first, or auto (Cloud TPU pod, Slurm, Open MPI).",
    )
    flags.DEFINE_integer(
        "num_processes", None, "How many, with --coordinator=HOST:PORT.", lower_bound=1
    )
    flags.DEFINE_integer("process_id", None, "Which one this is, from 0 on.", lower_bound=0)
    flags.DEFINE_integer(
        "start_seconds", 120, "How long the processes wait for each other.", lower_bound=1
    )
    _show_in_help(EVERY, "keep_heap", "cpu_devices", "compile_effort", "profile", "grace_seconds")
    _show_in_help(EVERY, "coordinator", "num_processes", "process_id", "start_seconds")


def _show_in_help(group: str, *names: str) -> None:
    for name in names:
        FLAGS.register_key_flag_for_module(group, FLAGS[name])


def _help(doc: str | None) -> str:
    """A launcher's docstring, its own flags, and then those of every command."""
    own, every = (FLAGS.module_help(group) for group in (sys.argv[0], EVERY))
    return "\n".join([doc or "", own.replace(sys.argv[0], "flags", 1).lstrip(), every])


def _log_from(level: int) -> None:
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(level)


def _parse(argv: list[str]) -> list[str]:
    try:
        remaining: list[str] = FLAGS([_checked(argument) for argument in argv])
        if "config" in FLAGS and FLAGS["config"].present:
            lock = getattr(FLAGS.config, "lock", None)  # raises what its file raised
            if lock is None:
                kind = type(FLAGS.config).__name__
                fail(f"--config gives a {kind}; allowed: a get_config() that returns a ConfigDict")
            lock()
    except OSError as error:
        fail(f"a file cannot be read: {_one_line(str(error.__cause__ or error))}")
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        text = _one_line(str(error.args[0] if error.args else error))
        if unknown := re.fullmatch(r"'*(\w+)'*( Did you mean .*)?", text):  # by ConfigDict
            text = _no_setting(unknown[1], argv)
        fail(text)
    except Exception as error:  # the file is a program, which may do anything
        fail(f"--config or flags cannot be used: {type(error).__name__}: {_one_line(str(error))}")
    return remaining


def _checked(argument: str) -> str:
    """`--config=mnist` as its file, and `~/mine.py` without `~`, which no shell replaces there.

    Numbers only in ASCII.
    """
    name, _, value = argument.partition("=")
    if name == "--config" and value.isidentifier():
        if value not in CONFIGS:
            fail(f"--config is {value!r}; allowed: {', '.join(CONFIGS)}, or a file such as mine.py")
        return f"{name}={CONFIGS[value]}"
    if value.isdecimal() and not value.isascii():
        fail(f"{argument!r} has digits of another script; allowed: 0 to 9")
    return f"{name}={fetched(as_path(value))}" if name == "--config" and value else argument


def _no_setting(name: str, argv: list[str]) -> str:
    """What is said of a name that the settings lack, given by a flag or used in a file."""
    given = [a for a in argv if name in a.partition("=")[0].split(".")]
    names = set(flatten(settings.defaults().to_dict()))
    if given:
        wrong = given[0].partition("=")[0].removeprefix("--config.")
    else:
        wrong, names = name, {part for whole in names for part in whole.split(".")}
    close = difflib.get_close_matches(wrong, sorted(names), n=1)
    text = f"--config has no setting {name!r}" + (f": {given[0]}" if given else "")
    return f"{text}; the closest is {close[0]}" if close else f"{text}; see scarlet_jax/settings.py"


def _one_line(text: str) -> str:
    """Without the line breaks, tracebacks and nested quotes of a library's message."""
    text = text.replace("\\n", "\n").replace("\\'", "'").strip('" \n')
    before, traceback_, after = text.partition("Traceback (most recent call last):")
    text = before + after.splitlines()[-1] if traceback_ and after else before
    return re.sub(r"\s*\n\s*", " ", text)


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
