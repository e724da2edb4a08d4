"""The images of a run: what there are, and which could not be used."""

from functools import lru_cache

import jax

from scarlet_jax import data, processes
from scarlet_jax.progress import say
from scarlet_jax.run.setup import Setup


@lru_cache(maxsize=1)  # once, before the first of several networks is trained
def examine(setup: Setup) -> None:
    """Says what images there are, and looks for those that cannot be used."""
    say(f"data: {data.describe(setup.splits)}")
    share = (jax.process_index(), jax.process_count())
    data.examine(setup.splits, setup.unreadable, *share)


def say_unreadable(setup: Setup) -> None:
    """Names the images that could not be read, if any: what a launcher ends with."""
    share_unreadable(setup)
    if len(setup.unreadable):
        say(str(setup.unreadable))


def share_unreadable(setup: Setup) -> None:
    """Adds what the other processes have noted in their parts of the data."""
    for reasons in processes.gather(setup.unreadable.reasons):
        setup.unreadable.reasons.update(reasons)
