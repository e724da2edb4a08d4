"""The persistent compilation cache: a program that was compiled once is read back later."""

import os

import jax
from absl import logging

from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path, check_writable, make_folder, user_cache


def default_directory() -> str:
    """JAX's own setting where there is one, else a folder in the user's cache directory."""
    given, user = os.environ.get("JAX_COMPILATION_CACHE_DIR"), user_cache()
    if given is None:
        return "" if user is None else str(user / "compilation")
    try:
        return os.fspath(as_path(given)) if given else ""
    except InputError:
        return ""


def use(directory: str) -> None:
    """Lets JAX keep compiled programs there; the empty string switches the cache off.

    Small programs are kept as well: there are many, and compiling them takes seconds. JAX tells
    programs apart by what they compute, its version, XLA's flags and the kind of device or
    processor. Nothing is ever removed.
    """
    if directory and (problem := _problem(directory)):
        logging.warning("no compilation cache in %s: %s", directory, problem)
        directory = ""
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)  # whatever the file system


def _problem(directory: str) -> str:
    """Why it cannot be written to, if so."""
    try:
        make_folder(path := as_path(directory))
        check_writable(path / "program")
    except OSError as error:
        return str(error.strerror)
    except InputError as error:
        return str(error)
    return ""
