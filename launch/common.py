"""What the launchers share: flags, and errors as one line."""

import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from scarlet_jax.errors import DivergedError, InputError

FLAGS = flags.FLAGS
ARCH_HELP = (
    "An architecture: a preset (scarlet-a, scarlet-b, scarlet-c, all-identity, all-k7e6) or "
    "comma-separated choices, as indices or names."
)


def define_config() -> None:
    """Defines `--config` with its overrides, and `--workdir`."""
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Settings, such as configs/mnist.py; override with --config.section.field=value.",
    )
    flags.DEFINE_string("workdir", None, "Where results go; a stopped run goes on from there.")


def run(
    main: Callable[[], Any], usage: str, required: tuple[str, ...] = ("config", "workdir")
) -> None:
    """Runs `main` with flags parsed. Bad input ends in one line and exit code 2.

    Args:
      main: the job.
      usage: an example command, shown when a required flag is missing.
      required: flags that must be given.
    """

    def guarded(argv: list[str]) -> None:
        if not FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # libraries say much at INFO
        missing = [f"--{name}" for name in required if getattr(FLAGS, name) is None]
        if argv[1:]:
            fail(f"unexpected argument {argv[1]!r}; flags start with --\n  {usage}")
        if missing:
            fail(f"{' and '.join(missing)} must be given, for example\n  {usage}")
        try:
            main()
        except (InputError, DivergedError) as error:
            fail(str(error))
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
            sys.exit(130)

    app.run(guarded)


def fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
