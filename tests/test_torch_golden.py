"""The stand-alone network and its training against PyTorch with the same weights."""

import json

import jax
import numpy as np
import pytest
from torch_weights import LOGITS, random_images, random_state

from scarlet_jax import devices, release, subnet
from scarlet_jax import space as spaces
from scarlet_jax.configs import base
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import S2
from scarlet_jax.train import step

CASES = json.loads(LOGITS.read_text())
# Strided and residual, with squeeze-and-excitation and without; quick to compile.
SHALLOW = ["E3K3_SE", "E3K5"] + ["identity"] * 17


def build(blocks, state):
    """Our network of the blocks with the weights of a PyTorch state dict."""
    architecture = spaces.parse(S2, ",".join(blocks))
    ours = subnet.create(S2, architecture, num_classes=len(state["classifier.bias"]))
    return release.fill(ours, state, "the state")


def run(network, images, batch=None):
    logits, _ = jax.jit(functional.apply, static_argnums=0)(*network, images, batch)
    return logits


def difference(ours, theirs):
    """The largest difference in units of the largest value."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_pytorch(name):
    case = CASES[name]
    state = random_state(case["blocks"], case["num_classes"], case["weight_seed"])
    images = random_images(case["image_seed"], case["batch"], case["size"])
    assert difference(run(build(case["blocks"], state), images), case["logits"]) < 1e-5


def test_pytorch_gives_the_stored_logits():
    pytest.importorskip("torch")
    from golden import torch_scarlet

    case = CASES["random"]
    state = random_state(case["blocks"], case["num_classes"], case["weight_seed"])
    images = random_images(case["image_seed"], case["batch"], case["size"])
    module = torch_scarlet.create(case["blocks"], state).eval()
    live = module(torch_scarlet.to_torch(images)).detach()
    assert difference(live, case["logits"]) < 1e-5


def test_logits_of_batch_statistics_are_those_of_pytorch():
    pytest.importorskip("torch")
    from golden import torch_scarlet

    state, images = random_state(SHALLOW, 5, seed=0), random_images(0, 4, 33)
    theirs = torch_scarlet.create(SHALLOW, state).train()(torch_scarlet.to_torch(images)).detach()
    ours = run(build(SHALLOW, state), images, BatchStatistics(rate=0.1))
    assert difference(ours, theirs) < 1e-4


def random_batch(rng, count):
    return {
        "image": rng.integers(256, size=(count, 17, 17, 3), dtype=np.uint8),
        "label": rng.integers(5, size=count, dtype=np.int32),
        "weight": np.ones(count, np.float32),
    }


def test_training_steps_are_those_of_pytorch():
    """Gradients, label smoothing, decay, momentum and schedule; ours over eight devices."""
    torch = pytest.importorskip("torch")
    from golden import torch_scarlet

    config = base.get_config()
    training = config.subnet
    training.update(weight_decay=0.01, label_smoothing=0.1)
    assert training.optimizer.to_dict() == {"name": "sgd", "kwargs": {"momentum": 0.9}}
    training.update(steps=10, warmup_steps=0, schedule="cosine", learning_rate=0.02, ema_decay=0.0)
    state = random_state(SHALLOW, 5, seed=0)

    network, mesh = build(SHALLOW, state), devices.make_mesh()
    task = step.Task(network.graphdef, training, config.data, seed=0)
    train = step.make_train_step(task, mesh)
    ours = devices.replicate(mesh, step.init_state(network, task))

    module = torch_scarlet.create(SHALLOW, state).double().train()
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": kernels, "weight_decay": 0.01}, {"params": others}], lr=0.02, momentum=0.9
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)

    rng = np.random.default_rng(0)
    for _ in range(3):
        batch = random_batch(rng, 16)
        ours, metrics = train(ours, devices.shard(mesh, batch))
        images = (batch["image"] / 255.0 - config.data.mean) / config.data.std
        loss = torch.nn.functional.cross_entropy(
            module(torch_scarlet.to_torch(images).double()),
            torch.from_numpy(batch["label"]).long(),
            label_smoothing=0.1,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        assert difference(metrics["loss"], loss.item()) < 1e-5

    trained = {name: p.detach().numpy() for name, p in module.named_parameters()}
    theirs = release.fill(network, state | trained, "the trained state").params

    def check(ours, theirs, start):
        assert difference(ours, theirs) < 1e-5
        change = np.abs(theirs - start).max()  # 0 for a bias before the next batch norm
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * change + 3e-7)

    jax.tree.map(check, jax.device_get(ours.params), theirs, network.params)
