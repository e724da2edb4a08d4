"""Small search problems with scores that are known, for the tests of the search."""

import itertools

import numpy as np

from scarlet_jax import cost, search
from scarlet_jax import space as spaces
from scarlet_jax.configs import base
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.space import Space

SIZE = NetworkSize(image_size=16, num_classes=4)
SPACE = spaces.make_space(name="small", widths=(8, 8, 16, 16, 24, 24), strides=(1, 2, 1, 2, 1, 1))
TINY = spaces.make_space(
    name="tiny", widths=(8, 16, 16), strides=(1, 2, 1), expansions=(2,), kernels=(3, 5)
)
BLOCKS = ("E3K3", "E3K5", "E3K7", "E6K3", "E6K5", "E6K7")
# The first block is fixed, and no layer that changes width or stride can be skipped.
RESTRICTED = spaces.make_space(
    name="restricted",
    widths=(8, 8, 16, 16, 24, 24),
    strides=(1, 2, 1, 2, 1, 1),
    layer_choices=(("E3K3",), BLOCKS, BLOCKS, BLOCKS, BLOCKS, ()),
)
TINY_RESTRICTED = spaces.make_space(
    name="tiny",
    widths=(8, 16, 16, 16),
    strides=(1, 2, 1, 1),
    expansions=(2,),
    kernels=(3, 5),
    layer_choices=(("E2K5",), ("E2K3", "E2K5"), (), ("E2K5", "identity")),
)


def every_path(allowed):
    """All paths `int32[P, L]` of the choices `bool[L, N]`, those of a small space's `allowed`."""
    return np.array(list(itertools.product(*map(np.flatnonzero, allowed))), np.int32)


def make_problem(space: Space = SPACE, objectives=None, tables=None, **settings):
    """With `objectives` as changes by name: `{"macs": {"max": 1e6}}`."""
    config = base.get_config().search
    config.update({"population": 12, "generations": 5, "max_tries": 20, "picks": 4} | settings)
    config.objectives.macs.max = float("inf")
    for name, changes in (objectives or {}).items():
        config.objectives[name].update(changes)
    built_in = search.built_in(space, config.objectives, SIZE, tables or {})
    return search.make_problem(space.allowed, built_in, config)


def macs(space: Space, architectures):
    return cost.macs(space, architectures, SIZE)


def params(space: Space, architectures):
    return cost.costs(space, architectures, SIZE)[..., 1]


class Additive:
    """Accuracy from one utility a layer and choice; remembers what it was asked.

    Refuses what is not of the space.
    """

    def __init__(self, space: Space = SPACE, seed=0, fail_at=None):
        self.utility = np.random.default_rng(seed).normal(size=(space.depth, space.num_choices))
        self.space, self.calls = space, []
        self.fail_at = fail_at

    def __call__(self, architectures):
        assert architectures.dtype == np.int32
        self.calls.append(spaces.validate(self.space, architectures))
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        layer = np.arange(architectures.shape[1])
        return 1 / (1 + np.exp(-self.utility[layer, architectures].sum(axis=1) / 2))


def column(problem, state, name):
    """One objective's values of the history, `float64[E]`."""
    return state.values[:, [objective.name for objective in problem.objectives].index(name)]
