import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from scarlet_jax import cost, subnet
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional, layers
from scarlet_jax.nn.convolution import native
from scarlet_jax.space import S1, S2

GOLDEN = json.loads((Path(__file__).parent / "golden" / "scarlet_models.json").read_text())


@pytest.mark.parametrize("name", list(GOLDEN["models"]))
def test_golden_counts(name):
    model = GOLDEN["models"][name]
    architecture = spaces.parse(S2, name)
    assert spaces.to_names(S2, architecture) == model["blocks"]
    assert cost.costs(S2, architecture).tolist() == [model["macs_224"], model["params"]]


def macs_of_jaxpr(jaxpr) -> int:
    """Multiply-adds of every convolution and matrix product, nested programs included."""
    total = 0
    for equation in jaxpr.eqns:
        shapes = [v.aval.shape for v in (*equation.invars, *equation.outvars)]
        if equation.primitive.name == "conv_general_dilated":
            total += int(np.prod(shapes[-1]) * np.prod(shapes[1][:-1]))
        elif equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            total += int(np.prod(shapes[-1]) * np.prod([shapes[0][i] for i in contracted]))
        total += sum(macs_of_jaxpr(sub) for sub in jaxprs_in_params(equation.params))
    return total


@pytest.mark.parametrize(("space", "size"), [(S1, 224), (S2, 65)])
def test_counts_of_random_architectures_are_those_of_the_network(space, size, monkeypatch):
    population = spaces.sample(space, np.random.default_rng(3), 4)
    population[0] = space.num_choices - 1  # identities only
    population[1, [0, 2, 6, 18]] = space.num_choices - 1  # at stride 2, widening, and the end
    check_counts(space, population, size, monkeypatch)


def test_counts_of_every_choice_are_those_of_the_network(tiny, monkeypatch):
    population = np.tile(np.arange(tiny.num_choices, dtype=np.int32)[:, None], tiny.depth)
    check_counts(tiny, population, 17, monkeypatch)


def check_counts(space, population, size, monkeypatch):
    """Against the arrays of the initialised network, and a walk over its program."""
    monkeypatch.setattr(layers, "convolution", native)
    monkeypatch.setattr(layers, "mean_of_pixels", lambda x: x.mean((1, 2)))
    counts = cost.costs(space, population, NetworkSize(image_size=size, num_classes=11))
    for architecture, (macs, params) in zip(population, counts, strict=True):
        network = subnet.create(space, architecture, num_classes=11)
        assert sum(leaf.size for leaf in jax.tree.leaves(network.params)) == params
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        program = jax.make_jaxpr(lambda x, n=network: functional.apply(*n, x)[0])(image)
        assert macs_of_jaxpr(program.jaxpr) == macs


def test_by_hand():
    """One layer, 5 x 5 images: every term written out."""
    space = spaces.make_space(
        name="t",
        widths=(6,),
        strides=(2,),
        expansions=(2,),
        kernels=(3,),
        se=(True,),
        stem_width=4,
        stem_stride=1,
        separable_width=3,
        head_width=7,
    )
    size = NetworkSize(image_size=5, num_classes=2, channels=1)
    block, identity = cost.costs(space, [[0], [1]], size)
    stem = 25 * (9 * 4 + 9 * 4 + 4 * 3)
    stem_params = 9 * 4 + 8 + 9 * 4 + 8 + 4 * 3 + 6
    layer = 25 * 3 * 6 + 9 * 9 * 6 + 6 * 1 + 1 * 6 + 9 * 6 * 6
    layer_params = 3 * 6 + 12 + 9 * 6 + 12 + (6 + 1) + (6 + 6) + 6 * 6 + 12
    head = 9 * 6 * 7 + 7 * 2
    head_params = 6 * 7 + 14 + 7 * 2 + 2
    assert block.tolist() == [stem + layer + head, stem_params + layer_params + head_params]
    # An identity keeps 3 channels for the head, at 3 x 3 pixels.
    narrow = [stem + 9 * 3 * 7 + 7 * 2, stem_params + 3 * 7 + 14 + 7 * 2 + 2]
    assert identity.tolist() == narrow


def test_one_architecture_is_a_population_of_one():
    population = spaces.sample(S2, np.random.default_rng(0), 50)
    size = NetworkSize(image_size=96)
    table = cost.costs(S2, population, size)
    assert table.dtype == np.int64
    for architecture, row in zip(population, table, strict=True):
        np.testing.assert_array_equal(cost.costs(S2, architecture, size), row)
    np.testing.assert_array_equal(cost.macs(S2, population, size), table[:, 0])
    np.testing.assert_array_equal(cost.costs(S2, population)[:, 1], table[:, 1])


@pytest.mark.parametrize("setting", ["image_size", "num_classes", "channels"])
def test_impossible_sizes(setting):
    with pytest.raises(InputError, match=f"{setting} is 0; allowed: 1 or more"):
        NetworkSize(**{setting: 0})
