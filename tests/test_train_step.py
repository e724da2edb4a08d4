"""The step against plain references, and on one device against eight."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from small import config

from scarlet_jax import devices, subnet, supernet, tensors
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.run.setup import make_space
from scarlet_jax.run.training import class_weights
from scarlet_jax.train import losses
from scarlet_jax.train import step as steps


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return config(tmp_path_factory.mktemp("unused"))


@pytest.fixture(scope="module")
def network(settings):
    return supernet.create(make_space(settings), num_classes=2, channels=1)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (8, 8, 8, 1), np.uint8),
        "label": rng.integers(0, 2, 8).astype(np.int32),
        "weight": np.array([1, 1, 0, 1, 1, 1, 1, 1], np.float32),
    }


def copy(state):
    return jax.tree.map(jnp.copy, state)


def make_task(network, training, settings, optimizer=None):
    return steps.Task(network.graphdef, training, settings.data, 3, optimizer=optimizer)


def run_steps(task, state, mesh, batch, count=3):
    step = steps.make_train_step(task, mesh)
    state, history = devices.replicate(mesh, copy(state)), []
    for _ in range(count):
        state, metrics = step(state, devices.shard(mesh, batch))
        history.append({name: float(value) for name, value in metrics.items()})
    return state, history


BUNDLES = ("inverted_bottleneck", "skip")  # of the only block, E2K3, and the skip


def meshes():
    return [Mesh(np.array(jax.devices()[:n]), (devices.DATA,)) for n in (1, 8)]


@pytest.fixture(scope="module")
def runs(settings, network, batch):
    """Three strict-fair supernet steps on one device, and on eight."""
    task = make_task(network, settings.supernet, settings)
    state = steps.init_state(network, task)
    return [run_steps(task, state, mesh, batch) for mesh in meshes()]


def test_supernet_step_is_the_same_on_one_device_and_eight(runs):
    (one, one_history), (eight, eight_history) = runs
    for a, b in zip(one_history, eight_history, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(eight.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    for a, b in zip(jax.tree.leaves(one.stats), jax.tree.leaves(eight.stats), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_one_path_moves_alone_and_no_path_recompiles(settings, network, batch, compilations):
    """Under uniform sampling: a block off the path stays as it is, with its momentum."""
    training = settings.supernet.copy_and_resolve_references().unlock()
    training.update({"sampler": "uniform", "warmup_steps": 0})
    task, mesh = make_task(network, training, settings), meshes()[0]
    step = steps.make_train_step(task, mesh)
    state = devices.replicate(mesh, copy(steps.init_state(network, task)))
    placed, taken = devices.shard(mesh, batch), set()
    for number in range(6):
        before = jax.tree.map(np.asarray, (state.params, state.opt_state))
        compiled = compilations()
        state, _ = step(state, placed)
        assert number == 0 or compilations() == compiled
        after = jax.tree.map(np.asarray, (state.params, state.opt_state))
        key = jax.random.split(jax.random.key(3))[0]
        (path,) = np.asarray(steps.sample_paths("uniform", make_space(settings), key, number))
        taken.add(tuple(path))
        for tree in jax.tree.map(np.not_equal, before, after):  # parameters, momentum
            for own, stage in zip(network.graphdef.stages, tree["stages"], strict=True):
                for place, layer in enumerate(own.layers):
                    for choice, name in enumerate(BUNDLES):
                        moved = [leaf[place].any() for leaf in jax.tree.leaves(stage[name])]
                        assert set(moved) == {path[layer] == choice}
        assert jax.tree.all(jax.tree.map(lambda a: np.all(np.isfinite(a)), after))
    assert len(taken) > 1


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
def test_accelerators_keep_native_convolutions(settings, network, batch, platform):
    """In the whole step: no sum of shifted slices in the text, but grouped convolutions."""
    task = make_task(network, settings.supernet, settings)
    compute, _ = steps.make_programs(task, meshes()[0])
    state = steps.init_state(network, task)
    text = compute.trace(state, batch).lower(lowering_platforms=(platform,)).as_text()
    grouped = text.count("feature_group_count = 16")
    if platform == "cpu":
        assert "sum_of_shifts" in text
        assert grouped == 0
    else:
        assert "sum_of_shifts" not in text
        assert grouped > 0


def test_strict_fair_step_is_one_update_with_the_summed_gradients(settings, network, batch, runs):
    """Replayed path by path with plain autodiff; the learning rate of step 0 is 0."""
    space, training = make_space(settings), settings.supernet
    images = devices.normalise(jnp.asarray(batch["image"]), (0.5,), (0.25,))
    paths = steps.sample_paths("strict_fair", space, jax.random.split(jax.random.key(3))[0], 0)

    @jax.jit
    def gradient(params, stats, path):
        def loss(params):
            logits, new = supernet.apply(
                network.graphdef, params, stats, images, path, BatchStatistics(rate=0.1)
            )
            values = losses.cross_entropy(logits, batch["label"], training.label_smoothing)
            return (values * batch["weight"]).sum() / 7, new

        return jax.value_and_grad(loss, has_aux=True)(params)

    stats, total, values = network.stats, None, []
    for path in paths:
        (value, stats), grads = gradient(network.params, stats, path)
        values.append(float(value))
        total = grads if total is None else jax.tree.map(jnp.add, total, grads)
    for shared in ("stem", "head"):
        total[shared] = jax.tree.map(lambda g: g / len(paths), total[shared])
    norm = float(jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(total))))
    first = runs[0][1][0]
    assert first["loss"] == pytest.approx(np.mean(values), rel=1e-5)
    assert first["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    # Every choice got a gradient, the stabilizers as well.
    for stage in total["stages"]:
        for bundle in BUNDLES:
            assert jax.tree.all(jax.tree.map(np.any, stage[bundle]))


def test_subnet_step_with_dropout_is_the_same_on_one_device_and_eight(settings, batch):
    network = subnet.create(
        make_space(settings), [0, 1, 0, 1], num_classes=2, channels=1, dropout=0.5, seed=1
    )
    task = make_task(network, settings.subnet, settings)
    state = steps.init_state(network, task)
    (one, one_history), (eight, eight_history) = (
        run_steps(task, state, mesh, batch) for mesh in meshes()
    )
    for a, b in zip(one_history, eight_history, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    for a, b in zip(jax.tree.leaves(one.ema), jax.tree.leaves(eight.ema), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    params, _ = steps.inference_arrays(one)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, one.params)
    assert max(jax.tree.leaves(moved)) > 0


@pytest.mark.parametrize(
    ("decay", "step", "rate"),
    [
        (0.999, 0, 0.9),
        (0.999, 8, 0.5),
        (0.999, 890, 0.01),
        (0.999, 8990, 0.001),
        (0.999, 100_000, 0.001),
        (0.5, 0, 0.9),
        (0.5, 9, 0.5),
    ],
)
def test_averages_follow_the_weights_closely_at_first(decay, step, rate):
    assert steps.averaging_rate(decay, jnp.int32(step)) == pytest.approx(rate, rel=1e-5)


def test_averages_soon_have_nothing_left_of_the_initial_weights():
    left = 1 - steps.averaging_rate(0.9999, jnp.arange(50))
    assert np.prod(left) < 1e-9


def test_first_averages_are_nine_tenths_of_the_first_weights(settings, path, batch):
    task = make_task(path, settings.subnet, settings)
    before = steps.init_state(path, task)
    after, _ = run_steps(task, before, meshes()[0], batch, count=1)
    for average, initial, new in zip(
        *map(jax.tree.leaves, (after.ema, before.ema, (after.params, after.stats))), strict=True
    ):
        np.testing.assert_allclose(average, 0.1 * initial + 0.9 * new, rtol=1e-5, atol=1e-6)


def test_local_batch_norm_knows_the_images_of_its_device_alone(settings, batch):
    """Against four devices' parts, each as a batch of its own."""
    network = subnet.create(make_space(settings), [0, 1, 0, 1], num_classes=2, channels=1)
    training = settings.subnet.copy_and_resolve_references().unlock()
    training.update({"local_batch_norm": True, "ema_decay": 0.0})
    task = make_task(network, training, settings, optax.scale(-1.0))
    mesh = Mesh(np.array(jax.devices()[:4]), (devices.DATA,))
    state, (history,) = run_steps(task, steps.init_state(network, task), mesh, batch, count=1)
    images = devices.normalise(jnp.asarray(batch["image"]), (0.5,), (0.25,))

    @jax.jit
    def expected(params):
        total, after = 0.0, []
        for part in np.arange(8).reshape(4, 2):
            logits, stats = functional.apply(
                network.graphdef, params, network.stats, images[part], BatchStatistics(rate=0.1)
            )
            values = losses.cross_entropy(logits, batch["label"][part], training.label_smoothing)
            total += (values * batch["weight"][part]).sum() / 7
            after.append(stats)
        return total, jax.tree.map(lambda *leaves: jnp.stack(leaves).mean(axis=0), *after)

    (loss, stats), grads = jax.value_and_grad(expected, has_aux=True)(network.params)
    assert history["loss"] == pytest.approx(float(loss), rel=1e-5)
    for found, old, grad in zip(
        *map(jax.tree.leaves, (state.params, network.params, grads)), strict=True
    ):
        np.testing.assert_allclose(found - old, -grad, atol=2e-5)
    for found, own in zip(*map(jax.tree.leaves, (state.stats, stats)), strict=True):
        np.testing.assert_allclose(found, own, atol=1e-5)


def test_a_subnet_of_skips_alone_trains(settings, batch):
    """An identity has nothing to train; stem and head have."""
    network = subnet.create(make_space(settings), [1, 1, 1, 1], num_classes=2, channels=1)
    assert set(network.params) == {"stem", "head"}
    task = make_task(network, settings.subnet, settings, optax.scale(-1.0))
    state, mesh = steps.init_state(network, task), meshes()[0]
    step = steps.make_train_step(task, mesh)
    after, metrics = step(devices.replicate(mesh, copy(state)), devices.shard(mesh, batch))
    moved = jax.tree.map(jnp.subtract, after.params, state.params)
    norm = float(optax.tree.norm(moved))
    assert norm > 0
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-4)


def test_an_optimizer_from_python_stands_for_the_named_one(settings, batch):
    """Here the gradient itself: its norm is how far the weights move, once it is clipped."""
    network = subnet.create(make_space(settings), [0, 1, 0, 1], num_classes=2, channels=1)
    training = settings.subnet.copy_and_resolve_references().unlock()
    training.clip_norm = 0.125
    task = make_task(network, training, settings, optax.scale(-1.0))
    state, mesh = steps.init_state(network, task), meshes()[0]
    step = steps.make_train_step(task, mesh)
    after, metrics = step(devices.replicate(mesh, copy(state)), devices.shard(mesh, batch))
    moved = jax.tree.map(jnp.subtract, after.params, state.params)
    assert float(metrics["gradient_norm"]) > 0.125
    assert float(optax.tree.norm(moved)) == pytest.approx(0.125, rel=1e-4)
    assert jax.tree.structure(after.opt_state) == jax.tree.structure(
        task.optimizer.init(state.params)
    )


@pytest.fixture(scope="module")
def path(settings):
    return subnet.create(make_space(settings), [0, 0, 0, 0], num_classes=2, channels=1)


def test_frozen_modules_stay_as_they_are_statistics_too(settings, path, batch):
    path = subnet.freeze(path, ("stem", "blocks.0"))
    training = settings.subnet.copy_and_resolve_references()
    training.update({"frozen": ("stem", "blocks.0"), "weight_decay": 0.1, "ema_decay": 0.0})
    task = make_task(path, training, settings)
    state, _ = run_steps(task, steps.init_state(path, task), meshes()[1], batch)
    before = tensors.flatten(path)
    after = tensors.flatten(path._replace(params=state.params, stats=state.stats))
    for name, array in before.items():
        own = name.partition(".")[2]
        is_frozen = own.startswith(("stem.", "blocks.0."))
        assert np.array_equal(array, after[name]) == is_frozen, name
    assert "params.blocks.1.expand.kernel" in before


def test_what_is_frozen_computes_in_training_what_it_will_in_use(settings, path, batch):
    """With all batch norm frozen and no dropout, the loss is that of the running statistics."""
    frozen = ("stem", "blocks", "head.convolution", "head.bn")
    training = settings.subnet.copy_and_resolve_references()
    training.update({"frozen": frozen, "dropout": 0.0, "label_smoothing": 0.0})
    network = subnet.freeze(path, frozen)
    task = make_task(network, training, settings)
    _, history = run_steps(task, steps.init_state(network, task), meshes()[1], batch, 1)
    images = devices.normalise(jnp.asarray(batch["image"]), (0.5,), (0.25,))
    logits, _ = functional.apply(*path, images)
    alone = losses.cross_entropy(logits, batch["label"], 0.0)
    expected = float((alone * batch["weight"]).sum() / batch["weight"].sum())
    assert history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_classes_count_by_their_weights_on_any_number_of_devices(settings, path, batch):
    training = settings.subnet.copy_and_resolve_references()
    training.update({"dropout": 0.0, "label_smoothing": 0.0})
    weights = np.array([0.5, 3.0], np.float32)
    task = dataclasses.replace(make_task(path, training, settings), class_weights=weights)
    histories = [
        run_steps(task, steps.init_state(path, task), mesh, batch, 2)[1] for mesh in meshes()
    ]
    np.testing.assert_allclose(*[[h["loss"] for h in history] for history in histories], rtol=1e-5)
    images = devices.normalise(jnp.asarray(batch["image"]), (0.5,), (0.25,))
    logits, _ = functional.apply(*path, images, BatchStatistics(0.0))
    alone = losses.cross_entropy(logits, batch["label"], 0.0)
    own = weights[batch["label"]] * batch["weight"]
    expected = float((alone * own).sum() / batch["weight"].sum())
    assert histories[0][0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_class_weights_even_out_how_many_images_a_class_has():
    """By hand: 1 and 4 images of two classes, in the mean of which the weights are 1."""
    labels = np.array([1, 0, 1, -1, 1, 1], np.int32)
    assert class_weights(labels, 2, 0.0) is None
    np.testing.assert_allclose(class_weights(labels, 2, 1.0), [2.5, 0.625])
    np.testing.assert_allclose(class_weights(labels, 2, 0.5), [5 / 3, 5 / 6], rtol=1e-6)


def test_batches_that_devices_cannot_share():
    with pytest.raises(InputError, match=r"batch_size is 12; .* multiples of the 8 devices"):
        devices.check_batch_size("batch_size", 12)
