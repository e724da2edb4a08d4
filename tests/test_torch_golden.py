"""The stand-alone network against PyTorch with the same weights, in double precision."""

import json

import jax
import numpy as np
import pytest
from torch_weights import LOGITS, convert, random_images, random_state

from configs import base
from scarlet_jax import devices, subnet
from scarlet_jax import space as spaces
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import S2
from scarlet_jax.train import step

CASES = json.loads(LOGITS.read_text())


def build(blocks, state):
    """Our network of the blocks with the weights of a PyTorch state dict."""
    ours = subnet.create(S2, spaces.parse(S2, blocks), num_classes=len(state["classifier.bias"]))
    params, stats = convert(state)
    for created, converted in ((ours.params, params), (ours.stats, stats)):
        assert jax.tree.map(np.shape, created) == jax.tree.map(np.shape, converted)
    return functional.Network(ours.graphdef, params, stats)


def difference(ours, theirs):
    """The largest difference in units of the largest value."""
    theirs = np.asarray(theirs)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_pytorch(name):
    case = CASES[name]
    state = random_state(case["blocks"].split(","), case["num_classes"], case["weight_seed"])
    images = random_images(case["image_seed"], case["batch"], case["size"])
    run = jax.jit(functional.apply, static_argnums=0)
    logits, _ = run(*build(case["blocks"], state), images)
    print(difference(logits, case["logits"] if "theirs" not in dir() else theirs.detach().numpy()))
    assert difference(logits, case["logits"]) < 1e-5


def test_pytorch_still_gives_the_stored_logits():
    pytest.importorskip("torch")
    from golden import torch_scarlet

    for case in CASES.values():
        assert difference(case["logits"], torch_scarlet.logits(case)) < 1e-8


def test_batch_statistics_are_those_of_pytorch():
    pytest.importorskip("torch")
    from golden import torch_scarlet

    case = CASES["random"]
    blocks, images = case["blocks"], random_images(1, 4, case["size"])
    state = random_state(blocks.split(","), case["num_classes"], case["weight_seed"])
    theirs = torch_scarlet.create(blocks.split(","), state).train()(torch_scarlet.to_torch(images))
    run = jax.jit(functional.apply, static_argnums=0)
    logits, _ = run(*build(blocks, state), images, BatchStatistics(rate=0.1))
    print(difference(logits, case["logits"] if "theirs" not in dir() else theirs.detach().numpy()))
    assert difference(logits, theirs.detach().numpy()) < 1e-4


def test_training_steps_are_those_of_pytorch():
    """Gradients, label smoothing, decay, momentum and schedule; batch norm over 8 devices."""
    torch = pytest.importorskip("torch")
    from golden import torch_scarlet

    blocks = ["E3K3_SE", "E3K5"] + ["identity"] * 17
    state = random_state(blocks, 5, seed=0)
    config = base.get_config()
    training = config.subnet
    training.update(steps=10, warmup_steps=0, learning_rate=0.1, weight_decay=0.01)
    training.update(optimizer="sgd", schedule="cosine")
    rng = np.random.default_rng(0)
    batches = [
        {
            "image": rng.integers(256, size=(16, 33, 33, 3), dtype=np.uint8),
            "label": rng.integers(5, size=16, dtype=np.int32),
            "weight": np.ones(16, np.float32),
        }
        for _ in range(3)
    ]

    network, mesh = build(",".join(blocks), state), devices.make_mesh()
    train = step.make_train_step(
        step.subnet_task(network.graphdef), training, config.data, mesh, seed=0
    )
    ours = devices.replicate(mesh, step.init_state(network, training))

    module = torch_scarlet.create(blocks, state).train()
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": kernels, "weight_decay": training.weight_decay}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    for batch in batches:
        ours, metrics = train(ours, devices.shard(mesh, batch))
        images = (batch["image"] / 255.0 - config.data.mean) / config.data.std
        loss = torch.nn.functional.cross_entropy(
            module(torch_scarlet.to_torch(images)),
            torch.from_numpy(batch["label"]).long(),
            label_smoothing=training.label_smoothing,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        assert difference(metrics["loss"], loss.item()) < 1e-5
        print("loss", difference(metrics["loss"], loss.item()))

    theirs, _ = convert({name: p.detach().numpy() for name, p in module.named_parameters()})
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), theirs, network.params)
    assert min(jax.tree.leaves(moved)) > 1e-4
    worst = jax.tree.map(difference, ours.params, theirs)
    print("params", max(jax.tree.leaves(worst)))
    ch = jax.tree.map(lambda a, b, c: difference(np.asarray(a) - c, b - c), ours.params, theirs, network.params)
    print("changes", max(jax.tree.leaves(ch)), min(jax.tree.leaves(moved)))
    assert max(jax.tree.leaves(worst)) < 1e-4
