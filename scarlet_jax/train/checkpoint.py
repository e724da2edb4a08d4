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
        self._manager = ocp.CheckpointManager(
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
        path = self.directory / str(step)
        try:
            saved = self._manager.restore(
                step, args=ocp.args.Composite(settings=ocp.args.JsonRestore())
            ).settings
        except (OSError, ValueError, KeyError) as error:
            raise unreadable(path, error) from error
        differing = settings_lib.differences(saved, self.settings)
        if differing:
            raise InputError(
                f"checkpoint {path} is of another configuration: "
                f"{settings_lib.describe(differing)}; take the same one or another --workdir"
            )
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(state))
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            ).state
        except (OSError, ValueError, KeyError) as error:
            raise unreadable(path, error) from error
        return TrainState(**restored)


def unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}); "
        "remove it to go on from the one before"
    )


def _tree(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
