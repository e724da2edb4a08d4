"""A checked configuration, and what is built from it before any long work."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from scarlet_jax import data, devices, latency, models, search, settings
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.space import Space
from scarlet_jax.train import optimizer

# Settings that do not change the result, so a run may go on with others. What the data are is said
# by the images themselves.
OPERATIONAL = {
    *("log_every", "eval_every", "checkpoint_every", "keep_checkpoints", "eval_paths"),
    *("path", "validation_split", "threads", "workers", "selection"),
}


@dataclass(frozen=True, eq=False)
class Setup:
    """A checked configuration with what is built from it."""

    config: ConfigDict
    workdir: Path
    supernet_workdir: Path  # whose supernet is meant; mostly the same
    space: Space
    size: NetworkSize
    splits: data.Splits
    mesh: Mesh
    problem: search.Problem
    unreadable: data.Unreadable
    profile: range = range(0)  # steps of a training to record


def prepare(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    examples: data.Examples | None = None,
    supernet_workdir: str | os.PathLike[str] | None = None,
    profile: range = range(0),
) -> Setup:
    """Checks every setting and opens the data, before any long work.

    Args:
      config: the settings.
      workdir: where results go.
      examples: own images, in place of those that `config.data` names.
      supernet_workdir: where the supernet is, if not there.
      profile: steps of each training to record for TensorBoard.

    Raises:
      InputError: for the first setting that is not allowed.
    """
    config = settings.check(config)
    space = make_space(config)
    _check_frozen(config.subnet.frozen, space)
    models.check_image_size(space, config.data.image_size)
    for name, section in (("supernet", config.supernet), ("subnet", config.subnet)):
        devices.check_batch_size(f"{name}.batch_size", section.batch_size)
        optimizer.check(section, name, padded=name == "supernet")
    own = config.supernet.batch_size, config.subnet.batch_size
    part = max(*own, config.search.batch_size * jax.process_count()) // jax.process_count()
    data.check_shared_memory(config.data, part)
    splits = data.load(config.data, config.seed, examples)
    size = NetworkSize(config.data.image_size, len(splits.class_names), config.data.channels)
    return Setup(
        config=config,
        workdir=as_path(workdir),
        supernet_workdir=as_path(supernet_workdir or workdir),
        space=space,
        size=size,
        splits=splits,
        mesh=devices.make_mesh(),
        problem=make_problem(config, space, size),
        unreadable=data.Unreadable(),
        profile=profile,
    )


def _check_frozen(frozen: Sequence[str], space: Space) -> None:
    blocks = [f"blocks.{number}" for number in range(space.depth)]
    allowed = ["stem", "blocks", *blocks, "head", "head.convolution", "head.bn"]
    if unknown := [name for name in frozen if name not in allowed]:
        raise InputError(
            f"subnet.frozen has {unknown[0]!r}; allowed: stem, blocks, blocks.0 to {blocks[-1]}, "
            "head, head.convolution, head.bn"
        )


def make_space(config: ConfigDict) -> Space:
    """The search space of a configuration."""
    return spaces.make_space(**config.space.to_dict())


def make_problem(config: ConfigDict, space: Space, size: NetworkSize) -> search.Problem:
    """The search problem of a configuration.

    Raises:
      InputError: for a setting that is not allowed, bounds that leave nothing to search, or a
        table that does not fit.
    """
    section = config.search
    tables = {
        name: latency.load(own.table, space, size, device=own.device)
        for name, own in section.objectives.items()
        if own.get("table")
    }
    objectives = search.built_in(space, section.objectives, size, tables)
    start = _start(space, as_path(section.start)) if section.start else ()
    problem = search.make_problem(space.allowed, objectives, section, start)
    # Bounds that nothing satisfies together are refused now.
    search.ask(problem, search.init(problem, search_seed(config)))
    return problem


def _start(space: Space, path: Path) -> list[list[int]]:
    """The architectures in a list of JSON, or those on the front of a work directory's search."""
    try:
        record = json.loads((path / "front.json" if path.is_dir() else path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"search.start is {path}, which cannot be read: {error}; allowed: the work directory "
            "of a search, or a JSON file with a list of architectures"
        ) from error
    if isinstance(record, dict):
        record = record.get("front", record)
    if not isinstance(record, list) or not record:
        raise InputError(f"search.start is {path}, which has no list of architectures")
    try:
        return [spaces.from_json(space, json.dumps(own)).tolist() for own in record]
    except InputError as error:
        raise InputError(f"search.start is {path}, but {error}") from error


def search_seed(config: ConfigDict) -> int:
    """Of the search's random draws."""
    return int(config.seed if config.search.seed < 0 else config.search.seed)


def training_settings(setup: Setup, section: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What trained weights depend on."""
    config = setup.config
    return {
        "seed": config.seed,
        "space": config.space.to_dict(),
        "model": _without_operational(config.model),
        "data": data_settings(setup),
        section: _without_operational(config[section]),
        **identity,
    }


def data_settings(setup: Setup) -> dict[str, Any]:
    """What results depend on of the data: how it is read, and which images and classes it has."""
    return _without_operational(setup.config.data) | {"images": setup.splits.identity}


def _without_operational(section: ConfigDict) -> dict[str, Any]:
    """What a result depends on of a section."""
    return {name: value for name, value in section.to_dict().items() if name not in OPERATIONAL}
