"""Orbax checkpoints of a training state, each with the settings it was trained with."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from scarlet_jax import settings as settings_lib
from scarlet_jax.errors import InputError
from scarlet_jax.train.step import TrainState


class _Manager(ocp.CheckpointManager):
    """Leaves JAX's preemption service alone: it counts the questions, and `processes` asks."""

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """The checkpoints of one directory. A save that is killed leaves the one before intact.

    Args:
      directory: created if absent.
      settings: JSON values that the weights depend on, the seed among them.
      keep: how many of the latest checkpoints stay.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any], keep: int = 1):
        self.directory = directory.absolute()
        self.settings = settings
        self._manager = _Manager(
            self.directory,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Saves in the background; the state may be donated at once."""
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_tree(state)), settings=ocp.args.JsonSave(self.settings)
            ),
        )

    def restore(self, state: TrainState) -> TrainState:
        """The latest checkpoint, placed as `state` is; `state` itself where there is none.

        Raises:
          InputError: if the checkpoint cannot be read, or is of other settings: every field
            that differs is named.
        """
        step = self.latest_step
        if step is None:
            return state
        saved = self._read(step, settings=ocp.args.JsonRestore()).settings
        differing = settings_lib.differences(saved, self.settings)
        if differing:
            raise InputError(
                f"checkpoint {self.directory / str(step)} is of another configuration: "
                f"{settings_lib.describe(differing)}; take the same one or another --workdir"
            )
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(state))
        return TrainState(**self._read(step, state=ocp.args.StandardRestore(target)).state)

    def _read(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"checkpoint {self.directory / str(step)} cannot be read "
                f"({str(error).splitlines()[0]}); remove it to go on from the one before"
            ) from error


def _tree(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
